//! QR codes for terminals.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code, as the standard asks for.
const QUIET: usize = 4;
/// What scanners still accept where the window is too low for [`QUIET`].
const QUIET_LOW: usize = 2;
/// Black on white, bright white where the terminal has it: whatever the terminal's own colours are.
const COLOURS: &str = "\x1b[30;47;107m";
const RESET: &str = "\x1b[0m";

/// A code of half blocks, two modules a character cell, dark on light. Nothing when the text is
/// too long for a code or a window of that size too small to show it whole.
#[must_use]
pub fn draw(text: &str, columns: usize, rows: usize) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let side = code.width();
    let modules = code.to_colors();
    let quiet = [QUIET, QUIET_LOW]
        .into_iter()
        .find(|q| side + 2 * q <= columns && (side + 2 * q).div_ceil(2) <= rows)?;
    let dark = |x: usize, y: usize| {
        let (x, y) = (x.checked_sub(quiet), y.checked_sub(quiet));
        match (x, y) {
            (Some(x), Some(y)) if x < side && y < side => modules.get(y * side + x) == Some(&Color::Dark),
            _ => false,
        }
    };
    let total = side + 2 * quiet;
    let mut out = String::with_capacity(total * total * 2);
    for y in (0..total).step_by(2) {
        out.push_str(COLOURS);
        for x in 0..total {
            out.push(match (dark(x, y), dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push_str(RESET);
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What pairing really shows: an origin, 16 bytes and 32 bytes.
    const LINK: &str = "https://push.example.com/pair#1.AAECAwQFBgcICQoLDA0ODw.\
                        47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    /// Reads the drawn characters back as a scanner's picture.
    fn scan(drawn: &str) -> (usize, String) {
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in drawn.lines() {
            let cells = line.strip_prefix(COLOURS).unwrap().strip_suffix(RESET).unwrap();
            rows.push(cells.chars().map(|c| matches!(c, '█' | '▀')).collect());
            rows.push(cells.chars().map(|c| matches!(c, '█' | '▄')).collect());
        }
        let size = rows[0].len();
        let quiet = rows.iter().position(|r| r.contains(&true)).unwrap();
        let scale = 4;
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(size * scale, rows.len() * scale, |x, y| {
                if rows[y / scale][x / scale] { 0 } else { 255 }
            });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        (quiet, grids[0].decode().unwrap().1)
    }

    #[test]
    fn the_drawn_code_reads_as_the_link() {
        let drawn = draw(LINK, 200, 100).unwrap();
        assert_eq!(scan(&drawn), (QUIET, LINK.to_owned()));
    }

    #[test]
    fn it_fits_a_plain_terminal_with_room_for_a_line_or_falls_back() {
        let drawn = draw(LINK, 80, 22).unwrap();
        assert_eq!(scan(&drawn), (QUIET_LOW, LINK.to_owned()));
        assert!(drawn.lines().count() <= 22);
        assert_eq!(draw(LINK, 40, 50), None, "too narrow");
        assert_eq!(draw(LINK, 80, 20), None, "too low");
        assert_eq!(draw(&"x".repeat(5000), 1000, 1000), None, "too long");
    }
}
