//! Every seed and every input that once was a finding, through every target, without a fuzzer.

use countersign_fuzz::Target;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::path::Path;

#[path = "targets/host/mod.rs"]
mod host;
#[path = "targets/protocol/mod.rs"]
mod protocol;
#[path = "targets/server/mod.rs"]
mod server;

const GROUPS: &[(&str, &[Target])] =
    &[("host", host::TARGETS), ("protocol", protocol::TARGETS), ("server", server::TARGETS)];

/// How many changed copies of each seed are tried.
const COPIES: usize = 40;

/// More memory than any target may need: without it a finding could take all that the machine has.
const MEMORY: u64 = 16 << 30;

fn replay(group: &str, targets: &[Target]) {
    let (_, most) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, MEMORY.min(most), most).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for target in targets {
        let file = folder.join("targets").join(group).join(format!("{}.rs", target.name));
        assert!(file.exists(), "{}: a target is named as its file", target.name);
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        (target.run)(b"");
        for seed in &seeds {
            (target.run)(seed);
            copies(seed).iter().for_each(|copy| (target.run)(copy));
        }
        for input in regressions(&folder.join("regressions").join(target.name)) {
            (target.run)(&input);
        }
    }
}

/// Cut, with a bit turned, with a part doubled: the same in each run.
fn copies(seed: &[u8]) -> Vec<Vec<u8>> {
    let mut random = seed.len() as u64;
    let mut below = |end: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap_or(0) % end.max(1)
    };
    let copy = |number: usize| {
        let at = below(seed.len());
        let mut copy = seed.to_vec();
        match number % 4 {
            0 => copy.truncate(at),
            1 => copy.extend_from_slice(&seed[at..]),
            _ => copy.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << below(8)),
        }
        copy
    };
    (0..COPIES).map(copy).collect()
}

fn regressions(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn host() {
    replay("host", host::TARGETS);
}

#[test]
fn protocol() {
    replay("protocol", protocol::TARGETS);
}

#[test]
fn server() {
    replay("server", server::TARGETS);
}

#[test]
fn no_target_and_no_finding_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: std::path::PathBuf| -> BTreeSet<String> {
        let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name() != Some("mod.rs".as_ref()))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let mut all = BTreeSet::new();
    for (group, targets) in GROUPS {
        let listed: BTreeSet<String> = targets.iter().map(|target| target.name.to_owned()).collect();
        assert_eq!(names(folder.join("targets").join(group)), listed);
        all.extend(listed);
    }
    let stray: Vec<_> = names(folder.join("regressions")).difference(&all).cloned().collect();
    assert!(stray.is_empty(), "findings of no target: {stray:?}");
}
