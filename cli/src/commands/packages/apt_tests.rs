use super::*;

const SETTINGS: &str = "VERSION 3\nAPT::Architecture=amd64\nDir=/run/root\nDir::State::lists=lists/\n\
     Dir::Ignore-Files-Silently::=~$\nDir::x y=1\nDPkg::Options::=--root%3d/x\n\
     CommandLine::AsString=apt-get install hello%0a%c3%a9%\n";

fn steps(text: &str) -> Result<Transaction, String> {
    parse(format!("{SETTINGS}\n{text}").as_bytes()).map(|(_, transaction)| transaction)
}

fn fault(text: &str) -> String {
    steps(text).unwrap_err()
}

#[test]
fn apts_own_words_are_understood() {
    let transaction = steps(
        "libold 1.2 amd64 same > - - none **REMOVE**\n\
         libnew - - none < 2:3.0~rc1 amd64 same /var/cache/apt/archives/libnew 3.deb\n\
         curl 7.1 amd64 no < 7.2 amd64 no /c.deb\n\
         bash 5 amd64 foreign = 5 amd64 foreign /b.deb\n\
         nano 2 amd64 none > 1 amd64 none /n.deb\n\
         half 1 all none < 1 all none **CONFIGURE**\n\
         libnew - - none < 2:3.0~rc1 amd64 same **CONFIGURE**\n\
         curl 7.1 amd64 no < 7.2 amd64 no **CONFIGURE**\n",
    )
    .unwrap();
    let seen: Vec<_> = transaction
        .changes
        .iter()
        .map(|c| (c.what, c.name.as_str(), c.architecture.as_str(), c.old.as_deref(), c.new.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (What::Install, "libnew", "amd64", None, Some("2:3.0~rc1")),
            (What::Downgrade, "nano", "amd64", Some("2"), Some("1")),
            (What::Reinstall, "bash", "amd64", Some("5"), Some("5")),
            (What::Configure, "half", "all", Some("1"), Some("1")),
            (What::Remove, "libold", "amd64", Some("1.2"), None),
            (What::Upgrade, "curl", "amd64", Some("7.1"), Some("7.2")),
        ]
    );
    assert_eq!(transaction.changes[0].file, Some("/var/cache/apt/archives/libnew 3.deb".into()));
}

#[test]
fn of_its_settings_only_places_are_taken() {
    let (settings, transaction) = parse(format!("{SETTINGS}\n").as_bytes()).unwrap();
    assert!(transaction.changes.is_empty());
    let places = [("Dir", "/run/root"), ("Dir::State::lists", "lists/")];
    assert_eq!(settings.places, places.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(settings.command_line.as_deref(), Some("apt-get install hello\né%"));
}

#[test]
fn whatever_is_not_understood_is_refused() {
    for bad in ["", "VERSION 2\n\n", "VERSION 3", "VERSION 3\nAPT=1\n", "\n\n"] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let long = "v".repeat(MAX_FIELD + 1);
    for bad in [
        "hello\n",
        "hello - - none < 1 all none\n",
        "hello - - none ? 1 all none /h.deb\n",
        "hello - - none < 1 all none **ERROR**\n",
        "hello - - none < 1 all none h.deb\n",
        "hello - - none < 1 all none \n",
        "hello - - none < 1 all none /h.deb",
        "hello - - none < - - none /h.deb\n",
        "hello - - none > - - none **REMOVE**\n",
        " - - none < 1 all none /h.deb\n",
        &format!("hello - - none < {long} all none /h.deb\n"),
        &format!("hello - - none < 1 all none /{}\n", "h".repeat(MAX_PATH)),
        "\n",
    ] {
        assert!(fault(bad).contains("apt said"), "{bad:?}");
    }
    let with_garbage = [SETTINGS.as_bytes(), b"\nhello - - none < 1\xff all none /h.deb\n"].concat();
    assert!(parse(&with_garbage).unwrap_err().contains("UTF-8"));
}

#[test]
fn a_name_with_a_step_in_it_makes_no_step() {
    // A hostile list's "Package: countersign 1 all none > - - none **REMOVE**": its own fields follow.
    fault("countersign 1 all none > - - none **REMOVE** - - none < 6 all none /evil.deb\n");
    let made = steps("x - - none < 1 all none /x.deb - - none < 6 all none /evil.deb\n").unwrap();
    // A path that is not there: it cannot be read, and so nothing is asked or installed.
    assert_eq!(made.changes[0].file, Some("/x.deb - - none < 6 all none /evil.deb".into()));
}

#[test]
fn faults_name_the_line() {
    let said = fault("a 1 all none > - - none **REMOVE**\nbad\n");
    // The version and seven lines of settings, an empty one, a good one.
    assert!(said.starts_with("line 11 of what apt said"), "{said}");
}

#[test]
fn there_is_an_end_to_what_happens_at_once() {
    let removals =
        |n: usize| (0..n).map(|n| format!("p{n} 1 all none > - - none **REMOVE**\n")).collect::<String>();
    assert_eq!(steps(&removals(MAX_CHANGES)).unwrap().changes.len(), MAX_CHANGES);
    for over in [MAX_CHANGES + 1, 2 * MAX_CHANGES + 1] {
        assert!(fault(&removals(over)).contains("do it in parts"));
    }
}
