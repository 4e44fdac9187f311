//! Reads nested lists of numbers, such as `[1, [2, 3]]`.

/// The sum of all numbers in a text.
pub fn sum(text: &str) -> Result<i64, String> {
    value(text).map(|(sum, _rest)| sum)
}

/// A number, or a list: its sum, and the text after it.
fn value(text: &str) -> Result<(i64, &str), String> {
    let text = text.trim_start();
    let Some(mut rest) = text.strip_prefix('[') else {
        let end = text.find([',', ']', '\n']).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let wrong = |_| format!("{number:?} is not a number");
        return Ok((number.parse().map_err(wrong)?, rest));
    };
    let mut sum = 0;
    loop {
        let (number, after) = value(rest)?; // a list in a list
        sum += number;
        rest = after.trim_start();
        if let Some(after) = rest.strip_prefix(']') {
            return Ok((sum, after));
        }
        rest = rest.strip_prefix(',').ok_or("a list has no end")?;
    }
}
