//! The daemon's configuration: every fault has a place in the file and is one line.

use countersign_fuzz::{Target, check};
use countersign_policy as config;

pub(crate) const TARGET: Target = Target { name: "daemon_config", run, seeds };

fn run(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    match config::read(&source) {
        Ok(config) => {
            check::is_inert(&config.server);
            assert!(config.server.starts_with("https://") || config.server.starts_with("http://"));
            assert!((config::MIN_WAIT..=config::MAX_WAIT).contains(&config.default.wait));
            assert!(config.server_ca.is_none_or(|path| path.is_absolute()));
            config.host_name.iter().for_each(|name| check::is_inert(name));
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                if let Some(span) = &fault.span {
                    assert!(
                        span.start <= span.end && span.end <= source.len(),
                        "{span:?} of {}",
                        source.len()
                    );
                    assert!(source.is_char_boundary(span.start) && source.is_char_boundary(span.end));
                }
                check::is_inert_of_any_length(&fault.line("countersign.toml", &source));
                check::are_inert(&fault.drawing("countersign.toml", &source));
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../../../policy/countersign.example.toml").to_vec(),
        b"server = \"https://push.example.com\"\nserver_ca = \"/etc/ca.pem\"\napp = \"https://a.example.com\"\n\
          host_name = \"db-1\"\n[default]\nthen = \"observe\"\nconfirm = \"tap\"\nwithout_prompt = \"refuse\"\n\
          wait = \"2m\"\ncodes = [\"recovery\"]\noffline = []\nask = \"caller\"\n\
          unenrolled = { skip_until = 2027-03-01 }\n"
            .to_vec(),
        b"servr = \"http://x\"\n[default]\nthen = \"aprove\"\n wait = \"never\"\ncodes = [\"a\", 1]\n[[rule]]\n".to_vec(),
        b"server = \"https://x\"\n[default\nthen = ]\n\"\\u001b\" = '''\n".to_vec(),
        b"server = \"https://x\"\nserver = 1\n[default]\nunenrolled = { skip_until = 1979-05-27T07:32:00Z }".to_vec(),
    ]
}
