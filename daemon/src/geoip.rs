//! Where an address may be, by a table that the administrator has put on this host. Only for a person to weigh: a table
//! that is missing, broken or slow costs a login nothing.

mod table;

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_files::Links;
use countersign_protocol::message::{MAX_PLACE, Place, PlaceSource};
use countersign_protocol::text::{clip, is_active};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::files::Owner;
use table::Table;

/// How long a disk may take to say where an address is.
const LOOK_TIME: Duration = Duration::from_millis(100);
/// Names of a city and of its country, in English.
const CITY: &[&str] = &["city", "names", "en"];
const COUNTRY: &[&str] = &["country", "names", "en"];

/// The table, if there is one.
#[derive(Debug, Default)]
pub struct Geoip {
    table: RefCell<Option<Arc<Table>>>,
}

impl Geoip {
    /// Opens this table in place of the one before; none where it cannot be used.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(&self, path: Option<&Path>, administrator: Owner) -> Result<(), String> {
        *self.table.borrow_mut() = None;
        let Some(path) = path else { return Ok(()) };
        let fault = |why: String| format!("geoip: {}: {why}; phones are told no places", path.display());
        let file =
            countersign_files::open(path, administrator, Links::Followed, OpenOptions::new().read(true))
                .map_err(|why| fault(why.to_string()))?;
        let table = Table::read(file).map_err(|why| fault(format!("it cannot be read: {why}")))?;
        *self.table.borrow_mut() = Some(Arc::new(table));
        Ok(())
    }

    /// Where an address may be.
    pub async fn place(&self, address: &str) -> Option<Place> {
        let (table, address) = (self.table.borrow().clone()?, address.parse::<IpAddr>().ok()?);
        let look = spawn_blocking(move || table.texts(address, [CITY, COUNTRY]).ok());
        let [city, country] = timeout(LOOK_TIME, look).await.ok()?.ok()??;
        place([city, country])
    }
}

/// City and country as one text. What could disguise the rest of the page is no name.
fn place(names: [Option<String>; 2]) -> Option<Place> {
    let names = names.into_iter().flatten().filter(|name| !name.is_empty() && !name.contains(is_active));
    let text = names.collect::<Vec<_>>().join(", ");
    let text = clip(&text, MAX_PLACE).to_owned();
    (!text.is_empty()).then_some(Place { text, source: PlaceSource::Geoip })
}

#[cfg(test)]
mod tests;
