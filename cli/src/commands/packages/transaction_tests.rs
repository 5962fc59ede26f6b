use super::*;

fn change(what: What, name: &str) -> Change {
    let has = |there: bool, version: &str| there.then(|| version.to_owned());
    Change {
        what,
        name: name.to_owned(),
        architecture: "amd64".to_owned(),
        old: has(what != What::Install, "1.0-1"),
        new: has(what != What::Remove, if what == What::Reinstall { "1.0-1" } else { "2.10-3" }),
        file: (!matches!(what, What::Remove | What::Configure)).then(|| format!("/a/{name}.deb").into()),
        sha256: Some("ab".repeat(32)),
        origin: None,
    }
}

fn of(changes: &[(What, &str)]) -> Transaction {
    Transaction::new(changes.iter().map(|(what, name)| change(*what, name)).collect(), None)
}

#[test]
fn one_package_is_told_by_name_and_version() {
    assert_eq!(of(&[(What::Install, "hello")]).summary(), "hello 2.10-3");
    assert_eq!(of(&[(What::Remove, "hello")]).summary(), "hello 1.0-1");
    assert_eq!(of(&[(What::Upgrade, "hello")]).summary(), "hello 1.0-1 -> 2.10-3");
    assert_eq!(of(&[(What::Reinstall, "hello")]).summary(), "reinstall hello 1.0-1");
    assert_eq!(of(&[(What::Downgrade, "hello")]).summary(), "downgrade hello 1.0-1 -> 2.10-3");
}

#[test]
fn many_are_told_by_kind_and_what_was_typed_comes_first() {
    let changes = [
        (What::Upgrade, "libc6"),
        (What::Install, "a"),
        (What::Install, "b"),
        (What::Install, "c"),
        (What::Install, "hello"),
        (What::Remove, "old"),
    ];
    let changes = changes.iter().map(|(what, name)| change(*what, name)).collect();
    let transaction = Transaction::new(changes, Some("apt-get install hello old-"));
    assert_eq!(
        transaction.summary(),
        "6 packages: install hello 2.10-3, a 2.10-3, b 2.10-3 and 1 more; remove old 1.0-1; \
         upgrade libc6 1.0-1 -> 2.10-3"
    );
    assert_eq!(transaction.action("apt"), "apt.install");
    assert_eq!(of(&[(What::Upgrade, "a"), (What::Remove, "b")]).action("apt"), "apt.remove");
    assert_eq!(of(&[(What::Upgrade, "a")]).action("dnf"), "dnf.upgrade");
    for grave in [What::Downgrade, What::Reinstall, What::Configure] {
        assert_eq!(of(&[(What::Remove, "b"), (grave, "a")]).action("apt"), "apt.install");
    }
}

#[test]
fn the_list_has_all_that_can_be_compared() {
    let hash = "ab".repeat(32);
    let mut transaction = of(&[(What::Upgrade, "libc6"), (What::Install, "hello"), (What::Remove, "old")]);
    transaction.changes[0].origin = Some("Debian".to_owned());
    let expected = format!(
        "install hello amd64 2.10-3 from Debian sha256:{hash}\n\
         remove old amd64 1.0-1 sha256:{hash}\n\
         upgrade libc6 amd64 1.0-1 -> 2.10-3 from unknown sha256:{hash}\n"
    );
    assert_eq!(transaction.list().unwrap(), expected);
    assert_eq!(transaction.origins(), ["Debian", "unknown"]);
    assert!(of(&[(What::Remove, "old")]).origins().is_empty());
}

#[test]
fn a_list_too_long_for_digests_has_one_of_all() {
    let names: Vec<String> = (0..3000).map(|n| format!("package-number-{n:04}")).collect();
    let changes: Vec<_> = names.iter().map(|name| change(What::Upgrade, name)).collect();
    let list = Transaction::new(changes, None).list().unwrap();
    assert!(list.len() <= MAX_LIST, "{}", list.len());
    assert_eq!(list.lines().count(), 3001);
    let all = digest::sha256_hex(format!("{}\n", "ab".repeat(32)).repeat(3000).as_bytes());
    assert!(list.ends_with(&format!("\nall files sha256:{all}\n")), "{list}");

    let long = "n".repeat(MAX_FIELD);
    let changes = (0..2000).map(|_| change(What::Upgrade, &long)).collect();
    assert_eq!(Transaction::new(changes, None).list().unwrap_err().exit, Exit::Usage);
}

#[test]
fn hostile_text_stays_a_word() {
    let transaction = of(&[(What::Install, "he\u{1b}[2Jl\u{202e}lo\u{430} x\\\n")]);
    let said = "he\\u{1b}[2Jl\\u{202e}lo\\u{430}\\u{20}x\\u{5c}\\u{a}";
    assert_eq!(transaction.summary(), format!("{said} 2.10-3"));
    assert!(transaction.list().unwrap().starts_with(&format!("install {said} amd64 2.10-3 from unknown")));
    assert_eq!(transaction.list().unwrap().lines().count(), 1);
}

#[test]
fn the_summary_has_an_end() {
    let names: Vec<_> = (0..4).map(|n| n.to_string() + &"é".repeat(100)).collect();
    let changes: Vec<_> = names.iter().map(|name| (What::Install, name.as_str())).collect();
    for count in [1, 4] {
        let summary = of(&changes[..count]).summary();
        assert!(summary.len() <= MAX_DETAIL && summary.ends_with('…'), "{summary}");
    }
}

#[test]
fn only_what_is_there_of_its_own_passes() {
    assert!(of(&[(What::Upgrade, "countersign"), (What::Upgrade, "libpam-countersign")]).is_own());
    assert!(of(&[(What::Remove, "countersign-server")]).is_own());
    assert!(of(&[(What::Downgrade, "pam_countersign"), (What::Configure, "countersign")]).is_own());
    for others in [
        &[(What::Install, "countersign")][..],
        &[(What::Upgrade, "countersign"), (What::Upgrade, "libc6")],
        &[(What::Remove, "libpam-countersign"), (What::Install, "libpam-countersign")],
        &[(What::Upgrade, "countersign-extras")],
        &[],
    ] {
        assert!(!of(others).is_own(), "{others:?}");
    }
}

#[test]
fn many_origins_end_as_unknown() {
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let mut transaction = of(&names.iter().map(|name| (What::Install, name.as_str())).collect::<Vec<_>>());
    for (n, change) in transaction.changes.iter_mut().enumerate() {
        change.origin = Some(format!("Origin {n:02}"));
    }
    let origins = transaction.origins();
    assert_eq!((origins.len(), origins.last().map(String::as_str)), (MAX_ORIGINS, Some(UNKNOWN)));
    for bad in ["", " ", "Debian\u{200b}", "Dëbian", &"D".repeat(MAX_ORIGIN + 1)] {
        assert!(!is_origin(bad), "{bad:?}");
    }
    assert!(is_origin("Debian Backports"));
}
