//! What a camera makes of a terminal.

use countersign_protocol::phone_code::Challenge;

/// Reads the QR code out of the rows that were said.
pub(crate) fn scan(rows: &[String]) -> Challenge {
    let light = |half: [char; 2]| move |cell: char| cell == '█' || half.contains(&cell);
    let mut lines: Vec<Vec<bool>> = Vec::new();
    for row in rows {
        lines.push(row.chars().map(light(['▀', '▀'])).collect());
        lines.push(row.chars().map(light(['▄', '▄'])).collect());
    }
    let (scale, width) = (4, lines[0].len());
    let mut picture =
        rqrr::PreparedImage::prepare_from_greyscale(width * scale, lines.len() * scale, |x, y| {
            if lines[y / scale][x / scale] { 255 } else { 0 }
        });
    let mut bytes = Vec::new();
    picture.detect_grids()[0].decode_to(&mut bytes).unwrap();
    Challenge::parse(&bytes).unwrap()
}
