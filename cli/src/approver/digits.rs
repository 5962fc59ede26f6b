//! Large digits: a code is read across a room, or off a second screen.

/// Rows of a large digit.
pub const ROWS: usize = 5;

/// Three by five dots a digit, a row a number, its highest bit on the left.
const FONT: [[u8; ROWS]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

/// Draws a code in groups of three, as wide as fits: dots of two columns, or of one.
#[must_use]
pub fn draw(code: &str, width: usize) -> Vec<String> {
    let digits: Vec<usize> = code.chars().filter_map(|c| c.to_digit(10)).map(|d| d as usize).collect();
    let groups = digits.len().div_ceil(3).max(1);
    let columns = |dot: usize| digits.len() * (3 * dot + dot) + (groups - 1) * 2 * dot;
    let dot = if columns(2) <= width { 2 } else { 1 };
    (0..ROWS)
        .map(|row| {
            let mut line = String::new();
            for (at, digit) in digits.iter().enumerate() {
                let gap = if at > 0 && at % 3 == 0 { 3 } else { usize::from(at > 0) };
                line.push_str(&" ".repeat(gap * dot));
                let bits = FONT.get(*digit).and_then(|d| d.get(row)).copied().unwrap_or(0);
                for bit in [0b100, 0b010, 0b001] {
                    line.push_str(&if bits & bit != 0 { "█" } else { " " }.repeat(dot));
                }
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_drawn_in_groups_and_fit() {
        let drawn = draw("120 457", 30);
        assert_eq!(
            drawn.join("\n"),
            " █  ███ ███   █ █ ███ ███
██    █ █ █   █ █ █     █
 █  ███ █ █   ███ ███  █
 █  █   █ █     █   █  █
███ ███ ███     █ ███  █"
        );
        for width in [40, 80] {
            assert!(draw("888888", width).iter().all(|l| l.chars().count() <= width));
        }
        assert!(draw("888888", 80)[0].chars().count() > 40, "large where there is room");
    }
}
