use super::*;
use crate::testing::Lab;
use countersign_policy::{self as config, Loaded};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tokio::task::{LocalSet, spawn_local};

struct Script(tempfile::TempDir);

impl Script {
    fn new(text: &str) -> Self {
        let script = Self(tempfile::tempdir().unwrap());
        std::fs::write(script.path(), format!("#!/bin/sh\ncd {}\n{text}\n", script.0.path().display()))
            .unwrap();
        std::fs::set_permissions(script.path(), PermissionsExt::from_mode(0o755)).unwrap();
        script
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("told")
    }

    fn program(&self) -> Program {
        Program { path: self.path(), arguments: vec!["a b".into(), "$(touch evil)".into()] }
    }

    async fn start(&self, json: &[u8]) -> Result<(), String> {
        start(&self.program(), json, Owner::own(), Duration::from_secs(5)).await
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
    }
}

#[tokio::test]
async fn it_gets_its_words_one_json_and_no_environment() {
    let script = Script::new("cat >json; printf '%s|' \"$@\" >words; env >env");
    script.start(b"{\"user\":\"$(touch evil)\"}\n").await.unwrap();
    assert_eq!(script.read("json"), "{\"user\":\"$(touch evil)\"}\n");
    assert_eq!(script.read("words"), "a b|$(touch evil)|");
    let env = script.read("env");
    // A shell adds these by itself.
    let own = |line: &&str| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name));
    assert_eq!(env.lines().filter(own).collect::<Vec<_>>(), [format!("PATH={PATH}")]);
    assert!(!script.0.path().join("evil").exists());
}

#[tokio::test]
async fn one_that_does_not_read_or_fails_is_told_in_the_log() {
    let script = Script::new("exec <&-; exit 3");
    let error = script.start(&vec![b'x'; 1024 * 1024]).await.unwrap_err();
    assert!(error.contains("exit status: 3"), "{error}");
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_what_it_has_started() {
    let script = Script::new("sleep 600 & echo $! >child; wait");
    let limit = Duration::from_secs(2);
    let error = start(&script.program(), b"{}\n", Owner::own(), limit).await.unwrap_err();
    assert!(error.contains("longer than 2 s"), "{error}");
    let stat = format!("/proc/{}/stat", script.read("child").trim());
    let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
    let gone = async {
        while alive() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(stat.len() > "/proc//stat".len());
    timeout(Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test]
async fn one_that_others_may_write_or_nobody_may_run_is_not_started() {
    let script = Script::new("touch ran");
    std::fs::set_permissions(script.path(), PermissionsExt::from_mode(0o775)).unwrap();
    assert!(script.start(b"{}\n").await.unwrap_err().contains("mode 0775"));
    std::fs::set_permissions(script.path(), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(trusted(&script.path(), Owner::own()).unwrap_err().contains("chmod a+x"));
    std::fs::remove_file(script.path()).unwrap();
    assert!(script.start(b"{}\n").await.unwrap_err().contains("does not exist"));
    std::os::unix::fs::symlink("/bin/true", script.path()).unwrap();
    assert!(script.start(b"{}\n").await.unwrap_err().contains("symbolic link"));
    assert!(!script.0.path().join("ran").exists());
}

#[tokio::test]
async fn a_few_run_at_once_and_what_is_too_much_is_dropped() {
    let told = async {
        let script = Script::new("cat >>json");
        let lab = Lab::new();
        let text = format!("server = \"http://127.0.0.1:1\"\nhook = [\"{}\"]\n", script.path().display());
        let read = config::read(&text).unwrap();
        *lab.app.config.borrow_mut() = Loaded { good: Some(Rc::new(read)), faults: Vec::new() };
        for number in 0..MOST + 10 {
            let reason = Some(format!("{number}"));
            lab.app.hook.tell(&lab.app, What::Denied, Event { reason, ..Event::default() });
        }
        assert_eq!((lab.app.hook.queue.borrow().len(), lab.app.hook.dropped.get()), (MOST, 10));
        let running = spawn_local(run(Rc::clone(&lab.app)));
        let all = async {
            while script.read("json").lines().count() < MOST {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), all).await.unwrap();
        running.abort();
        let first: serde_json::Value =
            serde_json::from_str(script.read("json").lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["event"], &first["host"], &first["version"]),
            (&"denied".into(), &"lab".into(), &1.into())
        );
        assert!(first["at"].as_u64().unwrap() > 1_700_000_000 && first.get("user").is_none());
        assert_eq!(lab.app.hook.dropped.get(), 0);
    };
    LocalSet::new().run_until(told).await;
}
