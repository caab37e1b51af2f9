//! Server-sent events as the HTML standard cuts them: bytes in, frames out.

/// One dispatched frame. A block that only sets the id is a frame without data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
}

/// An event is small; a stream that never ends its line is none.
const LONGEST: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event stream holds a frame of more than 64 MiB")]
pub struct TooLong;

#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes of a line that has not ended yet.
    line: Vec<u8>,
    /// The last line ended with CR: an LF now belongs to it.
    after_cr: bool,
    frame: Frame,
}

impl Parser {
    /// The frames that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLong> {
        let mut frames = Vec::new();
        for byte in bytes {
            match (byte, std::mem::take(&mut self.after_cr)) {
                (b'\n', true) => {}
                (b'\n' | b'\r', _) => {
                    self.after_cr = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    frames.extend(self.line_ended(&String::from_utf8_lossy(&line)));
                }
                _ => self.line.push(*byte),
            }
        }
        let held = self.line.len() + self.frame.data.as_ref().map_or(0, String::len);
        if held > LONGEST { Err(TooLong) } else { Ok(frames) }
    }

    fn line_ended(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            return (frame != Frame::default()).then_some(frame);
        }
        // A line that begins with a colon is a comment: the sign of life.
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.frame.id = Some(value.to_owned()),
            "event" => self.frame.event = Some(value.to_owned()),
            "data" => match &mut self.frame.data {
                Some(data) => data.extend(["\n", value]),
                none => *none = Some(value.to_owned()),
            },
            _ => {}
        }
        None
    }
}
