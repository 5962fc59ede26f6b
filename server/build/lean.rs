//! Scripts and style sheets without the lines that are nothing but comments, and without indentation: a
//! quarter less for a phone to load. What is left stands line by line as it was written.

/// What a browser needs of a file. In doubt, and for what is neither script nor style, all of it.
pub(crate) fn lean(path: &str, content: Vec<u8>) -> Vec<u8> {
    if !(path.ends_with(".js") || path.ends_with(".css")) {
        return content;
    }
    match std::str::from_utf8(&content).ok().and_then(without_comments) {
        Some(text) => text.into_bytes(),
        None => content,
    }
}

/// None where a line may be the inside of a text, which only a parser could tell.
fn without_comments(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        // Licences and the like stay: they begin with an exclamation mark.
        if line.starts_with("/*") && !line.starts_with("/*!") {
            match line.find("*/") {
                Some(end) if end + 2 == line.len() => continue,
                // Code follows, a cast for instance.
                Some(_) => {}
                None => {
                    let end = lines.find(|line| line.contains("*/"))?;
                    if !end.ends_with("*/") {
                        return None;
                    }
                    continue;
                }
            }
        }
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        if line.matches('`').count() % 2 == 1 || line.ends_with('\\') {
            return None;
        }
        out.push_str(line);
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::lean;

    fn lean_script(text: &str) -> String {
        String::from_utf8(lean("/a.js", text.into())).unwrap()
    }

    #[test]
    fn lines_of_comments_go_and_code_stays() {
        let text = "// why\n/**\n * what\n * @type {x}\n */\nexport const a = 1; // kept\n\n  /* one */\n  \
                    b(/** @type {c} */ (d));\n  /** @type {e} */ (f).g();\n'http://x';\n";
        let left =
            "export const a = 1; // kept\nb(/** @type {c} */ (d));\n/** @type {e} */ (f).g();\n'http://x';\n";
        assert_eq!(lean_script(text), left);
    }

    #[test]
    fn licences_stay() {
        let text = "/*! MIT\n * by somebody */\nx();\n";
        assert_eq!(lean_script(text), "/*! MIT\n* by somebody */\nx();\n");
    }

    #[test]
    fn in_doubt_all_stays() {
        for text in [
            "const a = `\n  // text\n`;\n",
            "const a = 'x\\\n  // text';\n",
            "/* a\n */ b();\n",
            "/* without an end\n",
        ] {
            assert_eq!(lean_script(text), text);
        }
        assert_eq!(lean("/a.svg", b"  /* x */\n".to_vec()), b"  /* x */\n");
        assert_eq!(lean("/a.js", vec![0xff, b'\n']), [0xff, b'\n']);
    }
}
