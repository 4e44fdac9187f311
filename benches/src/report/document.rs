//! The document: prose written by hand, and generated text between marks.
//!
//! A place is a line `<!-- begin NAME -->`, whatever stands there, and a line `<!-- end NAME -->`.
//! What a run wrote begins with a line that names it, `<!-- run ID -->`, so that the document
//! itself knows which of its tables belong together.
//!
//! **Whole or not at all.** A place is replaced whole. One that is missing, there twice, or not
//! closed is an error and nothing is written.
//!
//! Checked by the tests below.

/// Where a place begins and ends: the bytes between its two lines.
fn place(document: &str, name: &str) -> Result<(usize, usize), String> {
    let find = |mark: &str| {
        let mark = format!("<!-- {mark} {name} -->\n");
        let at: Vec<usize> = document.match_indices(&mark).map(|(at, _)| at).collect();
        match at[..] {
            [at] => Ok((at, at + mark.len())),
            _ => Err(format!(
                "{} lines {:?}, one expected",
                at.len(),
                mark.trim_end()
            )),
        }
    };
    let ((_, begin), (end, _)) = (find("begin")?, find("end")?);
    if begin > end {
        return Err(format!("{name} ends before it begins"));
    }
    if let Some(other) = document[begin..end].find("<!-- begin ") {
        let line = document[begin + other..].lines().next().unwrap_or_default();
        return Err(format!("{line} stands inside of {name}"));
    }
    Ok((begin, end))
}

/// The document with another text in that place.
///
/// # Errors
/// If there is no such place, or more than one.
pub fn replace(document: &str, name: &str, text: &str) -> Result<String, String> {
    let (begin, end) = place(document, name)?;
    let (head, tail) = (&document[..begin], &document[end..]);
    Ok(format!("{head}{}\n{tail}", text.trim_end()))
}

/// A text as that run wrote it.
#[must_use]
pub fn signed(run: &str, text: &str) -> String {
    format!("<!-- run {run} -->\n{text}")
}

/// Which run has written the text there; none: no run has, yet.
///
/// # Errors
/// If there is no such place, or more than one.
pub fn run_of<'a>(document: &'a str, name: &str) -> Result<Option<&'a str>, String> {
    let (begin, end) = place(document, name)?;
    let first = document[begin..end].lines().next().unwrap_or_default();
    let run = first.strip_prefix("<!-- run ");
    Ok(run.and_then(|run| run.strip_suffix(" -->")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# Title\n\nprose\n\n<!-- begin a -->\nold\n\nlines\n<!-- end a -->\n\nmore prose\n<!-- begin b -->\n<!-- end b -->\nthe end\n";

    #[test]
    fn a_place_is_replaced_whole_and_nothing_else() {
        let a = replace(DOCUMENT, "a", &signed("r1", "new\n\n")).unwrap();
        assert_eq!(
            a,
            DOCUMENT.replace("old\n\nlines\n", "<!-- run r1 -->\nnew\n")
        );
        let both = replace(&a, "b", "x").unwrap();
        assert!(both.contains("<!-- begin b -->\nx\n<!-- end b -->\nthe end\n"));
        assert_eq!(replace(&both, "b", "x").unwrap(), both);
    }

    #[test]
    fn the_document_knows_whose_its_tables_are() {
        let text = replace(DOCUMENT, "a", &signed("r1", "new")).unwrap();
        assert_eq!(run_of(&text, "a"), Ok(Some("r1")));
        assert_eq!(run_of(&text, "b"), Ok(None));
    }

    #[test]
    fn places_that_are_broken_are_refused() {
        let refuses = |document: &str, name: &str, why: &str| {
            let error = replace(document, name, "x").unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(run_of(document, name).is_err());
        };
        refuses(DOCUMENT, "c", "0 lines");
        refuses(&DOCUMENT.repeat(2), "a", "2 lines");
        refuses(&DOCUMENT.replace("<!-- end a -->\n", ""), "a", "0 lines");
        refuses("<!-- end a -->\n<!-- begin a -->\n", "a", "ends before");
        let nested = "<!-- begin a -->\n<!-- begin b -->\n<!-- end b -->\n<!-- end a -->\n";
        refuses(nested, "a", "inside of");
    }
}
