//! Random values from the operating system.

use std::fmt::Write;

/// `N` random bytes.
///
/// # Panics
/// When the kernel has no random numbers to give. Nothing safe can be done then.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0u8; N];
    #[expect(clippy::expect_used, reason = "no input reaches this; going on would use predictable secrets")]
    getrandom::fill(&mut out).expect("the kernel gives random numbers");
    out
}

/// `n` random decimal digits, each equally likely.
#[must_use]
pub fn digits(n: usize) -> String {
    let mut out = String::with_capacity(n);
    while out.len() < n {
        let [byte] = bytes::<1>();
        // 250 is the highest multiple of ten in a byte: what is above would favour low digits.
        if byte < 250 {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", byte % 10);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ() {
        assert_ne!(bytes::<16>(), bytes::<16>());
    }

    #[test]
    fn digits_are_as_many_as_asked_and_cover_all_ten() {
        let many = digits(2000);
        assert_eq!(many.len(), 2000);
        for digit in '0'..='9' {
            let share = many.chars().filter(|c| *c == digit).count();
            assert!((100..300).contains(&share), "{digit}: {share}");
        }
        assert_eq!(digits(0), "");
    }
}
