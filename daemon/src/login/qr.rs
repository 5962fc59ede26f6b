//! QR codes for a terminal that shows plain text only: PAM hands on no colours.
//!
//! Light modules are drawn and dark ones left empty, as most terminals are light on dark. On one that is dark on
//! light the code stands reversed, quiet zone and all, which scanners read as well.

use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode};

/// Most rows: with a line above it and two of the prompt they are a terminal of 24.
pub(super) const MOST_ROWS: usize = 21;
/// Light modules around the code, as the standard asks for, and what scanners still accept.
const QUIET: [usize; 2] = [4, 2];

/// The rows of a code, two modules a character one above the other.
///
/// # Errors
/// When there is too much for a code of that size.
pub(super) fn rows(bytes: &[u8]) -> Result<Vec<String>, QrError> {
    let code = QrCode::with_error_correction_level(bytes, EcLevel::L)?;
    let side = code.width();
    let fits = |quiet: &usize| (side + 2 * quiet).div_ceil(2) <= MOST_ROWS;
    let quiet = QUIET.into_iter().find(fits).ok_or(QrError::DataTooLong)?;
    let modules = code.to_colors();
    let total = side + 2 * quiet;
    let is_light = |x: usize, y: usize| match (x.checked_sub(quiet), y.checked_sub(quiet)) {
        (Some(column), Some(row)) if column < side && row < side => {
            modules.get(row * side + column) == Some(&Color::Light)
        }
        _ => y < total,
    };
    let row = |y: usize| {
        let cell = |x: usize| match (is_light(x, y), is_light(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (0..total).map(cell).collect()
    };
    Ok((0..total).step_by(2).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::login::MAX_TEXT;
    use countersign_protocol::phone_code::MAX_CHALLENGE;

    #[test]
    fn every_challenge_fits_a_plain_terminal_beside_its_prompt() {
        for length in [60, 78, 79, MAX_CHALLENGE] {
            let rows = rows(&vec![0xa5; length]).unwrap();
            assert!(rows.len() <= MOST_ROWS, "{length}: {}", rows.len());
            assert!(rows.iter().all(|row| row.chars().count() <= 80 && row.len() < MAX_TEXT));
            // The quiet zone is light on all sides.
            assert!(rows[0].chars().all(|cell| cell == '█'));
            assert!(rows.iter().all(|row| {
                let ends = [row.chars().next(), row.chars().last()];
                ends.iter().all(|end| matches!(end, Some('█' | '▀')))
            }));
        }
        assert!(rows(&[0; MAX_CHALLENGE + 1]).is_err());
    }
}
