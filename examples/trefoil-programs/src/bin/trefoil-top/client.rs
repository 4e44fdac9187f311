//! The connection to the program: one request, one answer, each with a deadline.

use std::io::{self, ErrorKind};
use std::time::Duration;

use serde_json::Value;
use trefoil::io::UnixStream;
use trefoil::timeout;
use trefoil_dashboard::sockets;

/// How long an answer may take: the program may be stopped, or its machine busy.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const LONGEST: usize = 64 << 20;

pub(crate) struct Client {
    pub(crate) process: u32,
    /// The name of the program.
    pub(crate) program: String,
    stream: UnixStream,
    /// What came after the last answer.
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(process: u32) -> io::Result<Self> {
        let mut client = Self {
            process,
            program: String::new(),
            stream: sockets::connect(process).await?,
            buffer: Vec::new(),
        };
        let greeting = client.answer().await?;
        client.program = clean(greeting["program"].as_str().unwrap_or("(no name)"));
        Ok(client)
    }

    /// What the program answers. A refusal is an error.
    pub(crate) async fn ask(&mut self, request: &Value) -> io::Result<Value> {
        let line = format!("{request}\n");
        timeout(ANSWER, self.stream.write_all(line.as_bytes())).await??;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Value> {
        let line = match timeout(ANSWER, self.line()).await {
            Ok(line) => line?,
            Err(_) => {
                let message = format!("process {} does not answer", self.process);
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
        };
        let answer: Value = serde_json::from_slice(&line)?;
        match answer["error"].as_str() {
            Some(why) => Err(io::Error::other(clean(why))),
            None => Ok(answer),
        }
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let rest = &self.buffer[searched..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let after = self.buffer.split_off(searched + end + 1);
                return Ok(std::mem::replace(&mut self.buffer, after));
            }
            searched = self.buffer.len();
            if searched > LONGEST {
                return Err(io::Error::other("its answer is too long"));
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece).await? {
                0 => {
                    let message = format!("process {} has closed the connection", self.process);
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, message));
                }
                count => self.buffer.extend_from_slice(&piece[..count]),
            }
        }
    }
}

/// The text without what a terminal would obey: a program's names may have anything in them.
pub(crate) fn clean(text: &str) -> String {
    let shown = |char: char| match char {
        '\n' => '\n',
        '\t' => ' ',
        char if char.is_control() => '\u{fffd}',
        // What turns the direction of the line, or begins one.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => '\u{fffd}',
        '\u{2066}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        char => char,
    };
    text.chars().map(shown).collect()
}

/// All texts of an answer, as [`clean`] leaves them.
pub(crate) fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(values) => values.into_iter().map(cleaned).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, cleaned(value)))
            .collect(),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_reaches_the_terminal_as_a_command() {
        let answer =
            serde_json::json!({"a": ["\u{1b}[2J", {"b": "\u{9b}31m\r\nx\ty\u{202e}"}], "c": 1});
        let wanted = serde_json::json!({"a": ["\u{fffd}[2J", {"b": "\u{fffd}31m\u{fffd}\nx y\u{fffd}"}], "c": 1});
        assert_eq!(cleaned(answer), wanted);
    }
}
