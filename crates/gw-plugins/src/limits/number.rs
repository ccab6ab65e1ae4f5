//! Whole numbers as header values: the small ones take no allocation.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

/// How many numbers, from 0, are written beforehand.
const READY: usize = 10_000;

/// Digits of each.
const WIDTH: usize = 4;

/// The numbers from 0 in four digits each.
static DIGITS: [u8; READY * WIDTH] = digits();

const fn digits() -> [u8; READY * WIDTH] {
    let mut all = [b'0'; READY * WIDTH];
    let mut number = 0;
    while number < READY {
        let (mut rest, mut place) = (number, number * WIDTH + WIDTH);
        while rest > 0 {
            place -= 1;
            all[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        number += 1;
    }
    all
}

/// The number in digits.
pub(crate) fn value(number: u64) -> HeaderValue {
    match usize::try_from(number) {
        Ok(small) if small < READY => {
            let width = small.checked_ilog10().unwrap_or(0) as usize + 1;
            let end = (small + 1) * WIDTH;
            let digits = std::str::from_utf8(&DIGITS[end - width..end]).expect("digits are ASCII");
            HeaderValue::from_static(digits)
        }
        _ => long(number),
    }
}

fn long(number: u64) -> HeaderValue {
    let mut digits = [0; MOST];
    let place = fill(&mut digits, number);
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&digits[place..]))
        .expect("digits are visible ASCII")
}

/// Appends the number in digits.
pub(crate) fn write(number: u64, to: &mut BytesMut) {
    let mut digits = [b'0'; MOST];
    let place = fill(&mut digits, number).min(MOST - 1);
    to.extend_from_slice(&digits[place..]);
}

/// How many digits a number may have.
const MOST: usize = 20;

/// Writes the number at the end; where it begins. Four digits at a time, which are there already.
fn fill(digits: &mut [u8; MOST], number: u64) -> usize {
    let (mut rest, mut place) = (number, MOST);
    while rest >= READY as u64 {
        let four = (rest % READY as u64) as usize * WIDTH;
        digits[place - WIDTH..place].copy_from_slice(&DIGITS[four..four + WIDTH]);
        place -= WIDTH;
        rest /= READY as u64;
    }
    while rest > 0 {
        place -= 1;
        digits[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        for number in (0..=20_000).chain([99_999, 123_456_789, u64::MAX]) {
            assert_eq!(value(number).to_str().unwrap(), number.to_string());
            let mut text = BytesMut::from("#");
            write(number, &mut text);
            assert_eq!(text, format!("#{number}").as_bytes());
        }
    }
}
