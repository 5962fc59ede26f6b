//! The server's configuration.

use countersign_fuzz::{Target, check, place::Place};
use countersign_server::fuzzing::config;

pub(crate) const TARGET: Target = Target { name: "server_config", run, seeds };

fn run(data: &[u8]) {
    thread_local!(static PLACE: Place = Place::new());
    PLACE.with(|place| {
        // With the place below it, so in several lines.
        if let Err(why) = config(&place.write("server.toml", data)) {
            check::are_inert_of_any_length(&why);
            assert!(!why.is_empty());
        }
    });
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../../../server/countersign-server.example.toml").to_vec(),
        b"listen = \"[::]:8443\"\norigin = \"https://push.example.com\"\nbehind_proxy = true\nweb = false\n\
          app_origins = [\"https://a.example.com\"]\nlog = \"debug\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n\
          [limits]\nconnections = 1\n[push]\ncontact = \"mailto:a@b\"\nca = \"/x\"\nprivate_networks = true\n"
            .to_vec(),
        b"domain = [\"push.example.com\"]\nacme_contact = \"a@b\"\nacme_directory = \"https://a\"\nacme_ca = \"c\"".to_vec(),
        b"origin = \"http://x\\u001b\"\n[limits]\nhost_rate = 0\nx = 1\n# \x1b[2J".to_vec(),
    ]
}
