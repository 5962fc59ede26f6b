//! What the fuzz targets share: how they are run, who signs in them, and what must hold of every output.
//!
//! `fuzz/README.md` says how to run them and how to add one.
#![cfg(feature = "targets")]
#![forbid(unsafe_code)]

pub mod actors;
pub mod check;
pub mod input;
pub mod pairing;
pub mod place;

use std::path::Path;

/// A parser under attack.
pub struct Target {
    /// Its name, which is its file's and that of its folders of inputs.
    pub name: &'static str,
    /// Panics when a property does not hold.
    pub run: fn(&[u8]),
    /// Inputs that reach its depth: real messages and files, as the product makes them.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The target that the environment names, for the programs that `make fuzz` runs. Its seeds go into the
/// folder that the environment names, too.
///
/// # Panics
/// When there is no such target or folder.
#[must_use]
pub fn chosen(targets: &[Target]) -> fn(&[u8]) {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    let target = targets.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("there is no target {name} in this program"));
    if let Ok(folder) = std::env::var("FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let path = Path::new(&folder).join(format!("seed-{number:02}"));
            std::fs::write(path, seed).expect("the folder of seeds can be written");
        }
    }
    target.run
}

/// The whole of a program that fuzzes.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! program {
    ($targets:expr) => {
        static CHOSEN: std::sync::OnceLock<fn(&[u8])> = std::sync::OnceLock::new();
        libfuzzer_sys::fuzz_target!(
            init: { CHOSEN.get_or_init(|| $crate::chosen($targets)); },
            |data: &[u8]| { if let Some(run) = CHOSEN.get() { run(data) } }
        );
    };
}
