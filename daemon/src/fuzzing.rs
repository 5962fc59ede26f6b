//! Doors to what is private, for the fuzz targets in `fuzz/`.

pub use crate::login::facts::Facts;
pub use crate::login::panel::Panel;
