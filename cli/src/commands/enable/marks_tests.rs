use super::*;

const FILE: &str = "# head\nauth include system-auth\n\naccount include system-auth\n";

fn auth(instead: Option<&Instead>) -> Vec<String> {
    block("auth", "sudo", MODULE, instead)
}

fn stripped(text: &[u8]) -> String {
    String::from_utf8(strip(text).text).unwrap()
}

#[test]
fn what_was_put_in_goes_out_byte_for_byte() {
    let instead = Instead { was: "auth include system-auth".into(), now: "auth substack system-auth".into() };
    for text in
        [FILE, "auth required pam_unix.so", "auth required pam_unix.so\r\n\r\n", "\n", "", "a\r\nb", "a\n\n"]
    {
        for after in 0..=5 {
            let put_in = put(text.as_bytes(), after, false, &auth(None));
            assert!(has(&put_in, "auth") && !has(&put_in, "session"), "{text:?} {after}");
            assert_eq!(stripped(&put_in), text, "{text:?} {after}");
            assert_eq!(strip(&put_in).taken, 4);
        }
    }
    for text in [FILE, "x\nauth include system-auth", "x\r\nauth include system-auth\r\ny\r\n"] {
        let put_in = put(text.as_bytes(), 2, true, &auth(Some(&instead)));
        assert_eq!(String::from_utf8_lossy(&put_in).matches("\nauth include").count(), 0);
        assert_eq!(stripped(&put_in), text, "{text:?}");
    }
}

#[test]
fn su_looks_at_who_types_and_a_stack_ends_at_a_refusal() {
    let su = block("auth", "su", MODULE, None);
    assert!(
        su.iter().any(|line| line.contains("quiet use_uid user ingroup countersign-breakglass")),
        "{su:?}"
    );
    let put_in = put(FILE.as_bytes(), 2, false, &su);
    assert_eq!((stripped(&put_in).as_str(), strip(&put_in).taken), (FILE, 4));
    for stage in ["auth", "session"] {
        let lines = block(stage, "sshd", MODULE, None);
        assert!(lines.contains(&format!("{stage:<7} requisite {MODULE}")), "{lines:?}");
    }
}

#[test]
fn two_blocks_in_one_file_do_not_disturb_each_other() {
    let once = put(FILE.as_bytes(), 4, false, &block("session", "sshd", MODULE, None));
    let twice = put(&once, 2, false, &auth(None));
    assert!(has(&twice, "auth") && has(&twice, "session"));
    assert_eq!(stripped(&twice), FILE);
}

#[test]
fn what_somebody_else_wrote_stays() {
    let put_in = String::from_utf8(put(FILE.as_bytes(), 2, false, &auth(None))).unwrap();
    // Between our marks, before, behind.
    let edited =
        put_in.replace(END, &format!("auth optional pam_x.so\n{END}")) + "session required pam_y.so\n";
    let out = strip(edited.as_bytes());
    assert_eq!(out.kept, ["auth optional pam_x.so"]);
    assert_eq!(
        String::from_utf8(out.text).unwrap(),
        "# head\nauth include system-auth\nauth optional pam_x.so\n\naccount include system-auth\nsession required \
         pam_y.so\n"
    );
    // Ours, changed: still ours.
    let edited =
        put_in.replace("requisite pam_countersign.so", "requisite /x/pam_countersign.so daemon_down=ignore");
    assert_eq!(stripped(edited.as_bytes()), FILE);
}

#[test]
fn a_block_that_lost_its_end_takes_nothing_with_it() {
    let put_in = String::from_utf8(put(FILE.as_bytes(), 2, false, &auth(None))).unwrap();
    assert_eq!(stripped(put_in.replace(&format!("{END}\n"), "").as_bytes()), FILE);
    let begin = put_in.lines().nth(2).unwrap();
    let without = put_in.replace(&format!("{begin}\n"), "");
    // Nobody knows whether these are ours: they are told of, and stay.
    assert_eq!(by_hand(without.as_bytes()), [4]);
    assert_eq!(strip(without.as_bytes()).taken, 1);
    let doubled = put_in.replace(END, &format!("{BEGIN} x\n{END}"));
    assert_eq!(stripped(doubled.as_bytes()), FILE);
}

#[test]
fn lines_by_hand_are_those_outside_of_the_marks() {
    assert_eq!(by_hand(&put(FILE.as_bytes(), 2, false, &auth(None))), Vec::<usize>::new());
    let text = "auth required pam_countersign.so\n# auth required pam_countersign.so\nauth [success=1 default=ignore] \
                /lib/pam_countersign.so\n";
    assert_eq!(by_hand(text.as_bytes()), [1, 3]);
    assert_eq!(strip(text.as_bytes()).taken, 0);
    assert_eq!(stripped(text.as_bytes()), text);
}

#[test]
fn a_file_that_is_no_text_is_not_touched_elsewhere() {
    let text = b"# caf\xe9\nauth required pam_unix.so\n# \xff\xfe";
    let put_in = put(text, 2, false, &auth(None));
    assert_eq!(strip(&put_in).text, text);
    assert_eq!(strip(&put(text, 3, false, &auth(None))).text, text);
}
