//! The page: its three files, and the report, which is all of them in one with the data inside.
//!
//! A report is opened as a file, where no header protects it. So it has its policy inside: only
//! the two elements with this report's random word are executed, and it can load and send nothing.

use std::io;
use std::time::Duration;

use crate::access::random_word;
use crate::board::Shared;
use crate::sampler::take;
use crate::tree::{Groups, Query};

pub(crate) const HTML: &str = include_str!("../assets/dashboard.html");
pub(crate) const STYLE: &str = include_str!("../assets/dashboard.css");
pub(crate) const SCRIPT: &str = include_str!("../assets/dashboard.js");

/// Where the page names its other files.
const STYLE_LINK: &str = r#"<link rel="stylesheet" href="dashboard.css">"#;
const SCRIPT_LINK: &str = r#"<script src="dashboard.js" defer></script>"#;

/// The time between the two samples of a report: rates are differences, and the executors answer.
pub(crate) const BETWEEN: Duration = Duration::from_millis(250);

/// The report of this moment. `before`: a sample that is [`BETWEEN`] old.
pub(crate) fn render(shared: &Shared, before: &str) -> io::Result<String> {
    let sample = take(shared);
    let (_, notes) = shared.notes.to_json();
    let tasks = ["by=name", "by=site", "by=tree"].map(|query| {
        let view = Groups::default().answer(&Query::parse(query));
        serde_json::to_string(&view).expect("texts and numbers have a form in JSON")
    });
    let [name, site, tree] = tasks;
    let data = format!(
        r#"{{"samples":[{before},{sample}],"notes":{notes},"tasks":{{"name":{name},"site":{site},"tree":{tree}}}}}"#
    );
    Ok(assemble(&data, &random_word()?))
}

/// The page with `data` (JSON) inside.
fn assemble(data: &str, nonce: &str) -> String {
    // In JSON, `<` occurs in texts only, where this is another form of it: no text can end the
    // element, whatever it has in it.
    let data = data.replace('<', "\\u003c");
    let policy = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'nonce-{nonce}'; \
         style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'\">"
    );
    let style = format!("{policy}\n<style nonce=\"{nonce}\">\n{STYLE}</style>");
    let script = format!("<script nonce=\"{nonce}\" type=\"module\">\n{SCRIPT}</script>");
    let data = format!("<script id=\"data\" type=\"application/json\">{data}</script>");
    let (head, rest) = HTML.split_once(STYLE_LINK).unwrap_or((HTML, ""));
    let (body, end) = rest.split_once(SCRIPT_LINK).unwrap_or((rest, ""));
    [head, &style, body, &data, "\n", &script, end].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_its_files_once() {
        assert_eq!(HTML.matches(STYLE_LINK).count(), 1);
        assert_eq!(HTML.matches(SCRIPT_LINK).count(), 1);
        assert!(HTML.find(STYLE_LINK) < HTML.find(SCRIPT_LINK));
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</"));
    }

    /// Nothing in the script makes markup, code or an address of a text.
    #[test]
    fn texts_stay_texts() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "createContextualFragment",
            "DOMParser",
            "srcdoc",
            "eval(",
            "Function(",
            "javascript:",
            "setTimeout(\"",
            "import(",
            ".href",
            ".src",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
        for word in ["<script>", "onclick", "onload", "onerror", "style="] {
            assert!(!HTML.contains(word), "{word}");
        }
    }

    /// Two functions of the script write texts, and show what would change their direction.
    #[test]
    fn no_text_passes_by_the_function_that_escapes_it() {
        let written = |place: &str| -> Vec<&str> {
            let lines = SCRIPT.lines().filter(|line| line.contains(place));
            lines.map(str::trim).collect()
        };
        let texts = [
            "if (node.textContent !== words) node.textContent = words;",
            r#"summary.textContent = "more";"#,
            "cell.textContent = name;", // the head of a column
        ];
        assert_eq!(written(".textContent = "), texts);
        let titles = [
            r#"node.title = shown(text ?? "");"#,
            "card.bar.title = `${number.format(ended)} of ${number.format(ended + c.pending)} items have ended`;",
            "document.title = `${shown(program.name)} · trefoil`;",
        ];
        assert_eq!(written(".title = "), titles);
        assert_eq!(written("shown = (text)").len(), 1);
    }

    #[test]
    fn no_text_ends_the_element_with_the_data() {
        let text = "</script><script>alert(1)</script><!-- <script";
        let data = serde_json::to_string(text).unwrap();
        let page = assemble(&data, "word");
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("alert(1)</script>"));
        let start = page.split_once("type=\"application/json\">").unwrap().1;
        let inside = start.split_once("</script>").unwrap().0;
        let back: String = serde_json::from_str(inside).unwrap();
        assert_eq!(back, text);
    }
}
