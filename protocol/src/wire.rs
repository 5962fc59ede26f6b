//! SSH's wire encoding (RFC 4251 section 5), read strictly.

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireError {
    Short,
    Trailing,
    Number,
    Text,
}

impl WireError {
    /// What is wrong, as the end of a sentence about the thing that was read.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Short => "it ends too early",
            Self::Trailing => "bytes follow its end",
            Self::Number => "a number is not encoded in its one way",
            Self::Text => "a text is not UTF-8",
        }
    }
}

/// Reads fields one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(WireError::Short)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.u32()?;
        self.take(usize::try_from(len).map_err(|_| WireError::Short)?)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.string()?).map_err(|_| WireError::Text)
    }

    /// A positive `mpint` as 32 big-endian bytes.
    pub(crate) fn scalar(&mut self) -> Result<[u8; 32], WireError> {
        let bytes = match self.string()? {
            // A leading zero is there only to keep the sign bit clear.
            [0, tail @ ..] if tail.first().is_some_and(|b| b & 0x80 != 0) => tail,
            [0, ..] | [] => return Err(WireError::Number),
            bytes if bytes.first().is_some_and(|b| b & 0x80 != 0) => return Err(WireError::Number),
            bytes => bytes,
        };
        let mut out = [0u8; 32];
        let start = out.len().checked_sub(bytes.len()).ok_or(WireError::Number)?;
        out.get_mut(start..).ok_or(WireError::Number)?.copy_from_slice(bytes);
        Ok(out)
    }

    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}

/// Appends a `string`. Everything that is written here is far below 4 GiB.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends 32 big-endian bytes as a positive `mpint`.
pub(crate) fn put_scalar(out: &mut Vec<u8>, scalar: &[u8; 32]) {
    let first = scalar.iter().position(|b| *b != 0).unwrap_or(scalar.len());
    let digits = scalar.get(first..).unwrap_or_default();
    if digits.first().is_some_and(|b| b & 0x80 != 0) {
        let mut padded = vec![0];
        padded.extend_from_slice(digits);
        put_string(out, &padded);
    } else {
        put_string(out, digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<[u8; 32], WireError> {
        let mut framed = Vec::new();
        put_string(&mut framed, bytes);
        Reader::new(&framed).scalar()
    }

    #[test]
    fn numbers_have_one_encoding() {
        for (i, scalar) in [[0x01; 32], [0x80; 32], [0xff; 32]].iter().enumerate() {
            let mut out = Vec::new();
            put_scalar(&mut out, scalar);
            assert_eq!(out.len(), if i == 0 { 36 } else { 37 });
            assert_eq!(Reader::new(&out).scalar().unwrap(), *scalar);
        }
        let mut small = [0u8; 32];
        small[31] = 5;
        assert_eq!(read(&[5]).unwrap(), small);
        for bad in [&[][..], &[0], &[0, 5], &[0x80], &[0; 33], &[1; 33], &[0, 0, 0x80]] {
            assert_eq!(read(bad), Err(WireError::Number), "{bad:?}");
        }
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(Reader::new(&[0, 0, 0, 2, 1]).string(), Err(WireError::Short));
        assert_eq!(Reader::new(&[0xff; 4]).string(), Err(WireError::Short));
        assert_eq!(Reader::new(&[0, 0]).u32(), Err(WireError::Short));
        assert_eq!(Reader::new(&[0]).end(), Err(WireError::Trailing));
    }
}
