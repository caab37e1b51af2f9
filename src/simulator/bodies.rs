//! Bodies that no well-behaved server sends: cut, endless, packed to burst; and small files that a report links to.

use std::convert::Infallible;
use std::io;

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt};

const CHUNK: u64 = 64 * 1024;

/// Sends the bytes and then breaks the connection off.
pub fn cut_short(start: Bytes) -> Body {
    let parts = stream::unfold(Some(start), |start| async move {
        match start {
            Some(bytes) if !bytes.is_empty() => Some((Ok(bytes), Some(Bytes::new()))),
            _ => {
                // Once round the scheduler, so that hyper has put the first part on the wire before it learns of the error.
                tokio::task::yield_now().await;
                Some((Err(io::Error::other("cut short on purpose")), None))
            }
        }
    });
    Body::from_stream(parts)
}

/// So many blanks: valid as the beginning of any JSON.
pub fn blanks(bytes: u64) -> Body {
    let chunk = Bytes::from(vec![b' '; CHUNK as usize]);
    Body::from_stream(repeated(chunk, bytes))
}

fn repeated(chunk: Bytes, bytes: u64) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(bytes, move |left| {
        let size = left.min(chunk.len() as u64);
        let part = chunk.slice(..size as usize);
        async move { (size > 0).then_some((Ok(part), left - size)) }
    })
}

/// "Copy 258 bytes from one byte back" in the fixed codes of DEFLATE: length code 285, distance code 0.
const COPY_258: [u8; 13] = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
/// Eight such copies fill thirteen bytes.
const PER_ROUND: u64 = 258 * 8;

/// A sound gzip file of at least so many zeros, made without a compressor: after the header comes a literal zero, then
/// nothing but copies of it.
pub fn gzip_bomb(bytes: u64) -> Body {
    let rounds = bytes.div_ceil(PER_ROUND);
    let unpacked = 1 + rounds * PER_ROUND;
    // Its last byte says: the final block, fixed codes, and all of a literal zero but three zero bits.
    let head = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x63]);
    // Those three bits come first, and as a copy ends in zero bits too, every round is the same thirteen bytes.
    let round: Vec<u8> =
        (0..13).map(|byte| (0..8).map(|bit| COPY_258[(byte * 8 + bit + 10) % 13] << bit).sum()).collect();
    let many = Bytes::from(round.repeat(CHUNK as usize / round.len()));
    // Three left-over zero bits and the seven of "end of block".
    let mut foot = BytesMut::from(&[0, 0][..]);
    foot.put_u32_le(crc_of_zeros(unpacked));
    foot.put_u32_le(unpacked as u32);
    let one = |part: Bytes| stream::iter([Ok::<_, Infallible>(part)]);
    Body::from_stream(one(head).chain(repeated(many, rounds * 13)).chain(one(foot.freeze())))
}

/// CRC-32 of `count` zero bytes without walking over them: the register times x^(8·count) modulo the polynomial.
fn crc_of_zeros(count: u64) -> u32 {
    let mut power = 1_u32 << 31;
    // x^8, squared once for every bit of the count.
    let mut factor = 1_u32 << 23;
    let mut left = count;
    while left > 0 {
        if left & 1 == 1 {
            power = multiply(power, factor);
        }
        factor = multiply(factor, factor);
        left >>= 1;
    }
    !multiply(power, u32::MAX)
}

/// Product of two polynomials over GF(2), bits reflected, modulo the polynomial of CRC-32.
fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while a != 0 {
        if a & (1 << 31) != 0 {
            product ^= b;
        }
        a <<= 1;
        b = if b & 1 == 1 { (b >> 1) ^ 0xedb8_8320 } else { b >> 1 };
    }
    product
}

/// A small, valid PDF of one page with one line of ASCII.
pub fn pdf(line: &str) -> Vec<u8> {
    let safe: String =
        line.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').filter(|c| !"()\\".contains(*c)).collect();
    let drawing = format!("BT /F1 18 Tf 72 720 Td ({safe}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{drawing}\nendstream", drawing.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut text = String::from("%PDF-1.4\n");
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (at, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", text.len());
        text += &format!("{} 0 obj\n{object}\nendobj\n", at + 1);
    }
    let start = text.len();
    text += &format!("{table}trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_zeros_needs_no_zeros() {
        // zlib.crc32(bytes(n))
        assert_eq!(crc_of_zeros(0), 0);
        assert_eq!(crc_of_zeros(1), 0xd202_ef8d);
        assert_eq!(crc_of_zeros(4), 0x2144_df1c);
        assert_eq!(crc_of_zeros(32), 0x190a_55ad);
    }

    #[tokio::test]
    async fn the_bomb_is_sound_gzip_as_far_as_its_bytes_show() {
        let file = axum::body::to_bytes(gzip_bomb(10_000), usize::MAX).await.unwrap();
        // gzip.decompress() of these bytes gives 10,321 zeros.
        assert_eq!(file.len(), 11 + 5 * 13 + 2 + 8);
        assert_eq!(file[11..24], file[24..37]);
        assert_eq!(u32::from_le_bytes(file[file.len() - 4..].try_into().unwrap()), 10_321);
    }

    #[test]
    fn a_pdf_points_at_its_own_table() {
        let file = String::from_utf8(pdf("Report (1) for WVWZZZ")).unwrap();
        let start: usize = file.lines().rev().nth(1).unwrap().parse().unwrap();
        assert!(file[start..].starts_with("xref\n"));
        assert!(file.contains("(Report 1 for WVWZZZ) Tj"));
    }
}
