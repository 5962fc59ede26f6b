//! Made-up approvers files: mostly as people write them and fit for a certain key, here and there as nobody should.

use crate::random::Random;

/// What a file is made for.
pub(crate) struct Aim<'a> {
    pub(crate) user: &'a str,
    /// The public key that has to be in its line.
    pub(crate) key: &'a str,
    /// Whether that is a certificate's authority.
    pub(crate) is_authority: bool,
}

/// Mostly one of the usual ones, else of the odd ones.
fn choose<'a>(random: &mut Random, usual: &[&'a str], odd: &[&'a str]) -> &'a str {
    if random.chance(96) { random.one(usual) } else { random.one(odd) }
}

/// A file that mostly fits. `others` are lines of keys that fit nothing here, of all kinds.
pub(crate) fn file(random: &mut Random, aim: &Aim<'_>, others: &[String]) -> String {
    let mut lines: Vec<String> = (0..random.below(5) / 3).map(|_| line(random, aim, others)).collect();
    let at = random.below(lines.len() + 1);
    lines.insert(at, line(random, aim, &[]));
    if random.chance(25) {
        let usual = ["", "# x", " # x", "#", "\t", "  "];
        let other = choose(random, &usual, &["\r", "junk", "\u{c}", "\"", "\u{feff}", "\0", "\u{b}# x", "é"]);
        lines.insert(random.below(lines.len() + 1), other.to_owned());
    }
    let end = choose(random, &["\n", "\n", "\n", "\r\n"], &["\r", "\n\r", "\u{2028}"]);
    let mut file = lines.join(end) + choose(random, &[end, ""], &["\0", "\n\n\n", " "]);
    if random.chance(10) {
        file = change(&file, random);
    }
    file
}

/// One change of a character.
fn change(file: &str, random: &mut Random) -> String {
    let mut text: Vec<char> = file.chars().collect();
    let at = random.below(text.len());
    let active = ['"', ',', ' ', '\t', '\n', '\r', '\0', '#', '!', '*', '?', '=', '\\', 'Z', '0', '/', 'é'];
    let c = active[random.below(active.len())];
    match random.below(4) {
        0 => text.insert(at, c),
        1 => text[at] = c,
        2 => drop(text.remove(at)),
        _ => {
            let to = random.below(text.len());
            text.swap(at, to);
        }
    }
    text.into_iter().collect()
}

/// A line, for another key when there are `others`.
fn line(random: &mut Random, aim: &Aim<'_>, others: &[String]) -> String {
    let fits = others.is_empty() || random.chance(30);
    let mut key = if fits { aim.key.to_owned() } else { others[random.below(others.len())].clone() };
    if random.chance(4) {
        key = change_key(&key, random);
    }
    let mut options: Vec<String> = (0..random.below(3)).map(|_| option(random)).collect();
    let is_authority = if fits { aim.is_authority } else { random.chance(40) };
    if is_authority != random.chance(4) {
        let name = choose(
            random,
            &["cert-authority"],
            &["CERT-authority", "cert-authority=\"x\"", "no-cert-authority"],
        );
        options.insert(random.below(options.len() + 1), name.to_owned());
    }
    let mut options = options.join(choose(random, &[","], &[" ,", ", ", ",,", ";"]));
    if !options.is_empty() {
        options.push_str(choose(random, &[" ", "\t"], &["  ", "\r", "", "\u{c}", ", "]));
    }
    let start = choose(random, &["", "", " "], &["\t ", "\r", "\u{c}", "\u{feff}", "\u{a0}"]);
    let between = choose(random, &[" ", "\t", "  "], &["\r", "\u{c}", "", "\u{b}"]);
    let comment = choose(
        random,
        &["", " comment", " a b", "\tc", " \"", " é"],
        &[" #", "\r", "\u{c}", "\u{c}x", " \0x", "#", " a\rb", "\u{202e}", " \u{1b}[1m"],
    );
    format!("{start}{}{between}{options}{key}{comment}", principals(random, aim.user))
}

/// One change of a public key's line.
fn change_key(key: &str, random: &mut Random) -> String {
    let at = random.below(key.len());
    match random.below(7) {
        0 => key[..at].to_owned(),
        1 => key.replacen(' ', random.one(&["\t", "  ", "\u{c}", "\r", "", "\u{a0}", ","]), 1),
        2 => key.replace('=', ""),
        3 => format!("{}{}{}", &key[..at], random.one(&["A", "\u{c}", "\0", "=", " "]), &key[at..]),
        4 => format!("{key}{}", random.one(&["=", "A", "AAAA", " x"])),
        5 => key.replacen(
            "ssh-ed25519",
            random.one(&["ssh-rsa", "ssh-ED25519", "ecdsa-sha2-nistp256", "ed25519"]),
            1,
        ),
        _ => key.to_uppercase(),
    }
}

/// A list of patterns.
fn principals(random: &mut Random, user: &str) -> String {
    let (start, guess) = (format!("{}*", &user[..1]), format!("{}?{}", &user[..2], &user[3..]));
    let (second, last) = (format!("x,{user}"), format!("*{}", &user[1..]));
    let usual = [user, user, "*", &start, &guess, &second, &last, "*,!nobody"];
    let (not, quoted, capital) = (format!("!{user}"), format!("*,!\"{user}\""), user.to_uppercase());
    let (all, inside) = (format!("{user}*"), format!("{}\"{}", &user[..2], &user[2..]));
    let odd = [
        not.as_str(),
        &quoted,
        &capital,
        &all,
        &inside,
        "!*",
        "",
        ",",
        "c**l",
        "?????",
        "a\u{e9}",
        "\r",
        "*\r",
        "\u{c}",
        "#",
        "*\"x",
        "\"\"",
        "*,\u{c}",
        "[a-z]*",
        "*\\",
    ];
    let mut list = choose(random, &usual, &odd).to_owned();
    if random.chance(15) {
        list = format!("{list},{}", choose(random, &usual, &odd));
    }
    if random.chance(1) {
        list = format!("{list},{}", "*".repeat(1015 + random.below(15)));
    }
    match random.below(60) {
        0..=5 => format!("\"{list}\""),
        6 => format!("\"{list}"),
        7 => format!("\"{list} x\""),
        8 => format!("\"{list}\"x"),
        9 => format!("{list}\""),
        _ => list,
    }
}

fn option(random: &mut Random) -> String {
    let quote = choose(random, &["\""], &["", "'", "\"\""]);
    match random.below(10) {
        0..=3 => {
            let name =
                choose(random, &["namespaces", "namespaces", "NameSpaces"], &["namespace", "namespaces "]);
            let usual = ["decision@x", "decision@*", "*", "*,!other", "x,decision@x"];
            let odd = [
                "other",
                "!decision@x,*",
                "decision@x\\\"",
                "",
                "a,decision@?",
                "decision@x,",
                " decision@x",
                "*\\",
            ];
            format!("{name}={quote}{}{quote}", choose(random, &usual, &odd))
        }
        4 | 5 => {
            let usual = ["20260101Z", "20260601115959Z", "202606011200Z"];
            let odd = [
                "20270101Z",
                "20260101",
                "20260601UTC",
                "20260101z",
                "20260230Z",
                "20261301Z",
                "20260100Z",
                "19700101Z",
                "19690101Z",
                "2026060112Z",
                "20260601115960Z",
                "20260601245959Z",
                "",
                "Z",
                " 0260101Z",
                "20260101Z ",
                "+2260101Z",
                "always",
                "0x20260101Z",
            ];
            format!("valid-after={quote}{}{quote}", choose(random, &usual, &odd))
        }
        6 | 7 => {
            let usual = ["20270101Z", "20260601120001Z", "99991231235959Z"];
            let odd = [
                "20260601120000Z",
                "20260101Z",
                "20270101",
                "20270229Z",
                "20270101240000Z",
                "20270101006000Z",
                "",
                "20270101ZZ",
                "forever",
            ];
            format!("valid-before={quote}{}{quote}", choose(random, &usual, &odd))
        }
        _ => choose(
            random,
            &["namespaces=\"*\"", "NAMESPACES=\"decision@x\""],
            &["unknown", "unknown=\"x\"", "verify-required", "namespaces", "", "namespaces=\"decision@x\"x"],
        )
        .into(),
    }
}

/// What was revoked: nothing, mostly.
pub(crate) fn revoked(random: &mut Random, aim: &Aim<'_>, others: &[String]) -> Option<String> {
    if !random.chance(10) {
        return None;
    }
    let mut lines: Vec<String> =
        (0..random.below(3)).map(|_| others[random.below(others.len())].clone()).collect();
    if random.chance(30) {
        lines.push(aim.key.to_owned());
    }
    if random.chance(15) {
        let other =
            choose(random, &["", "# x", " # x"], &["junk", "SHA256:AAAA", "\"", "\r", "x y", "\0", "\u{c}"]);
        lines.insert(random.below(lines.len() + 1), other.to_owned());
    }
    let mut file = lines.join(random.one(&["\n", "\n", "\r\n"])) + random.one(&["\n", ""]);
    if random.chance(10) && !file.is_empty() {
        file = change(&file, random);
    }
    Some(file)
}
