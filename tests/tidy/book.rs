//! The links between the pages of `docs/` work: in a checkout, in rustdoc and as a book.
//!
//! 1. Each page, also of `docs/internals/`, is in `docs/SUMMARY.md`, from which `.ci/book` makes a
//!    book, and each page in it exists. A record is in `docs/internals/DESIGN.md` instead, behind
//!    whose entry `.ci/book` puts all of them; a generated list is in none.
//! 2. Pages link to one another in words and by reference, `[the guide][GUIDE.md]` and at the end
//!    `[GUIDE.md]: GUIDE.md`: the name of a file is no text of a link. In a checkout and in the
//!    book the link leads to the file. In rustdoc `docs/rustdoc-links.txt`
//!    is read first, which says what module the page is. So a page is linked by its own name, that
//!    file has the name, and no link leaves `docs/`; and each page defines the names that it links,
//!    because only rustdoc reads that file. The internal pages are not in rustdoc, so they
//!    may link where they like within `docs/`, and no other page links them.
//! 3. Examples on the pages have no hidden lines: GitHub shows the lines that rustdoc hides.
//! 4. Each drawing of `docs/images/` is in `docs/images/pictures.txt`, as the address of its name,
//!    for rustdoc, which copies no pictures.
//! 5. The README of the library links pages of this checkout, which a forge and a registry resolve;
//!    in rustdoc the head of `src/lib.rs` has the same names first. That of another crate has no
//!    relative links, which lead nowhere in its rustdoc, and the pages that it links exist there.
//! 6. A link to a place names a heading of its page. (`.ci/links` asks the same of what rustdoc
//!    made.)
//! 7. Each variable of the environment that the crate reads is in the table of
//!    `docs/DEPLOYMENT.md`.

use crate::source::{File, Finding};
use crate::words::{links, resolve};

const SUMMARY: &str = "docs/SUMMARY.md";
const RECORDS: &str = "docs/internals/DESIGN.md";
const GENERATED: &str = "internals/UNSAFE.md";
const LINKS: &str = "docs/rustdoc-links.txt";
const HEAD: &str = "src/lib.rs";
const PICTURES: &str = "docs/images/pictures.txt";
const VARIABLES: &str = "docs/DEPLOYMENT.md";

fn says(tree: &[File], path: &str, text: &str) -> bool {
    let mut files = tree.iter().filter(|file| file.path == path);
    files.any(|file| file.lines.iter().any(|line| line.raw.contains(text)))
}

/// A link without the place that it names.
fn page_of(link: &str) -> &str {
    link.split('#').next().unwrap_or_default()
}

fn page(path: &str) -> Option<&str> {
    path.strip_prefix("docs/")
        .filter(|name| name.ends_with(".md"))
}

/// Whether the text of a link is the name of a page: `[GUIDE.md]` that is neither behind the words
/// of a link nor a definition.
fn is_named_by_a_file(line: &str) -> bool {
    let mut rest = line;
    while let Some(end) = rest.find(".md]") {
        let (head, tail) = (&rest[..end], &rest[end + 4..]);
        let begin = head.rfind('[').unwrap_or(0);
        let is_behind_words = head[..begin].ends_with(']');
        let is_name = !head[begin..].contains(' ');
        if is_name && !is_behind_words && !tail.starts_with(": ") {
            return true;
        }
        rest = tail;
    }
    false
}

/// Rules 1 and 2.
pub(crate) fn bound(file: &File, tree: &[File]) -> Vec<Finding> {
    let Some(name) = page(&file.path) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut report = |at, what: String| findings.push(Finding::new(file, at, "book", what));
    let (list, entry) = match name.strip_prefix("internals/") {
        Some(record) if record.starts_with("decisions/") => (RECORDS, record),
        _ => (SUMMARY, name),
    };
    let is_listed = file.path == SUMMARY || name == GENERATED;
    if !is_listed && !says(tree, list, &format!("]({entry})")) {
        report(0, format!("{list} has no line for this page"));
    }
    if name.starts_with("internals/") {
        return findings;
    }
    for (at, line) in file.lines.iter().enumerate() {
        for target in line
            .raw
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let there = tree.iter().any(|file| page(&file.path) == Some(target));
            if file.path == SUMMARY && !there {
                report(at, format!("there is no page {target}"));
            } else if file.path != SUMMARY && page_of(target).ends_with(".md") {
                let page = page_of(target);
                report(
                    at,
                    format!("link as [words][{page}], and end the page with `[{page}]: {page}`"),
                );
            }
        }
        if file.path != SUMMARY && is_named_by_a_file(&line.raw) {
            report(
                at,
                "a link says in words where it leads, not by the name of a file".to_owned(),
            );
        }
        let named = line.raw.split("][").skip(1);
        for name in named.filter_map(|rest| rest.split(']').next()) {
            let definition = format!("[{name}]: ");
            let mut lines = file.lines.iter();
            if page_of(name).ends_with(".md")
                && !lines.any(|line| line.raw.starts_with(&definition))
            {
                report(at, format!("this page does not say where `{name}` is"));
            }
        }
        let Some((link, target)) = line
            .raw
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
        else {
            continue;
        };
        if target.starts_with("../") {
            report(
                at,
                format!("{target} is in no book: name the file in backquotes"),
            );
        } else if page_of(target).ends_with(".md")
            && (link != target || !says(tree, LINKS, &format!("[{target}]: ")))
        {
            report(
                at,
                format!("a page is linked by its name, and {LINKS} knows it"),
            );
        }
    }
    findings
}

/// Rule 3.
pub(crate) fn whole(file: &File) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut fenced = false;
    for (at, line) in file.lines.iter().enumerate() {
        let text = line.raw.trim();
        fenced ^= text.starts_with("```");
        if fenced && (text == "#" || text.starts_with("# ")) {
            let what = "GitHub shows this line: make the example whole, with `fn main`, say";
            findings.push(Finding::new(file, at, "hidden", what));
        }
    }
    findings
}

/// Rule 4.
pub(crate) fn pictured(file: &File, tree: &[File]) -> Vec<Finding> {
    let stem = |path: &str| {
        Some(
            path.strip_prefix("docs/images/")?
                .strip_suffix(".svg")?
                .to_owned(),
        )
    };
    let Some(stem) = stem(&file.path) else {
        return Vec::new();
    };
    let mut line = format!("[{stem}]: data:image/svg+xml,");
    for byte in file
        .lines
        .iter()
        .flat_map(|line| line.raw.bytes().chain([b'\n']))
    {
        match byte {
            b'-' | b'.' | b'/' | b':' | b'=' | b',' | b';' => line.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => line.push(byte.into()),
            other => line += &format!("%{other:02X}"),
        }
    }
    if says(tree, PICTURES, &line) {
        return Vec::new();
    }
    let what = format!("{PICTURES} needs the line\n{line}");
    vec![Finding::new(file, 0, "picture", what)]
}

/// Rule 5.
pub(crate) fn published(file: &File, tree: &[File]) -> Vec<Finding> {
    const PAGES: &str = "https://docs.rs/trefoil/latest/trefoil/_documentation/";
    let parts: Vec<&str> = file.path.split('/').collect();
    let is_of_library = match parts[..] {
        ["README.md"] => true,
        ["crates", _, "README.md"] => false,
        _ => return Vec::new(),
    };
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        if is_of_library && is_named_by_a_file(&line.raw) {
            let what = "a link says in words where it leads, not by the name of a file";
            findings.push(Finding::new(file, at, "published", what));
        }
        for link in links(&line.raw) {
            let page = link
                .strip_prefix(PAGES)
                .and_then(|page| page.split('/').next());
            let is_known = |page| says(tree, LINKS, &format!("]: crate::_documentation::{page}"));
            let is_relative = link.contains(['.', '/']) && !link.starts_with("https://");
            let what = match page {
                Some(page) if !is_known(page) => format!("{LINKS} has no page {page}"),
                None if is_relative && !is_of_library => {
                    format!("{link} leads nowhere in this crate's rustdoc")
                }
                None if is_relative && link.ends_with(".md") => {
                    match says(tree, HEAD, &format!("//! [{link}]: _documentation::")) {
                        true => continue,
                        false => format!("the head of {HEAD} says nothing of {link}"),
                    }
                }
                _ => continue,
            };
            findings.push(Finding::new(file, at, "published", what));
        }
    }
    findings
}

/// The name that GitHub, a book and rustdoc give to a heading.
fn place_of(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase)
        .collect::<String>()
        .replace(' ', "-")
}

/// Rule 6.
pub(crate) fn anchored(file: &File, tree: &[File]) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        for link in links(&line.raw).filter(|link| !link.contains(':')) {
            let Some((page, place)) = link.split_once('#') else {
                continue;
            };
            let path = match page {
                "" => Some(file.path.clone()),
                page => resolve(&file.path, page),
            };
            let mut pages = tree.iter().filter(|file| Some(&file.path) == path.as_ref());
            let is_there = pages.any(|page| {
                let headings = page.lines.iter().filter(|line| line.raw.starts_with('#'));
                headings
                    .map(|line| line.raw.trim_start_matches('#'))
                    .any(|name| place_of(name) == place)
            });
            if !is_there {
                findings.push(Finding::new(
                    file,
                    at,
                    "place",
                    format!("{link}: no heading has this name"),
                ));
            }
        }
    }
    findings
}

/// Rule 7.
pub(crate) fn told(file: &File, tree: &[File]) -> Vec<Finding> {
    if !file.path.starts_with("src/") || file.is_for_tests() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        for name in line
            .raw
            .split("\"TREFOIL_")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            if !says(tree, VARIABLES, &format!("| `TREFOIL_{name}` |")) {
                let what = format!("`TREFOIL_{name}` is not in the table of {VARIABLES}");
                findings.push(Finding::new(file, at, "variable", what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_outside_of_the_book_is_reported() {
        let count = |path: &str, text: &str| {
            let tree = [
                File::new(SUMMARY, "- [A](A.md)\n- [D](internals/D.md)\n"),
                File::new(LINKS, "[A.md]: crate::a\n"),
                File::new(RECORDS, "- [why?](decisions/why.md)\n"),
                File::new("docs/A.md", ""),
            ];
            bound(&File::new(path, text), &tree).len()
        };
        assert_eq!(count("docs/A.md", "see [a][A.md]\n\n[A.md]: A.md"), 0);
        assert_eq!(count("docs/A.md", "see [A.md]\n\n[A.md]: A.md"), 1);
        assert_eq!(count("docs/A.md", "see [a][A.md]"), 1);
        assert_eq!(count("docs/B.md", ""), 1);
        assert_eq!(count("docs/internals/D.md", "[a](A.md)"), 0);
        assert_eq!(count("docs/internals/E.md", ""), 1);
        assert_eq!(count("docs/internals/decisions/why.md", ""), 0);
        assert_eq!(count("docs/internals/decisions/how.md", ""), 1);
        assert_eq!(count(SUMMARY, "- [A](A.md)\n- [B](B.md)"), 1);
        assert_eq!(
            count("docs/A.md", "[a](A.md) [a](#a) [x](https://x.y/z)"),
            1
        );
        assert_eq!(count("docs/A.md", "[B.md]: B.md"), 1); // rustdoc does not know it
        assert_eq!(count("docs/A.md", "[a]: A.md"), 1);
        assert_eq!(count("docs/A.md", "see [a](A.md#a)"), 1);
        assert_eq!(count("docs/A.md", "[A.md]: A.md#a"), 1);
        assert_eq!(count("docs/A.md", "[a]: ../src/lib.rs"), 1);
        assert_eq!(count("README.md", "[a](docs/A.md)"), 0);
    }

    #[test]
    fn a_drawing_that_rustdoc_lacks_is_reported() {
        let tree = [File::new(PICTURES, "[a]: data:image/svg+xml,%3Ca%3E%0A\n")];
        let count = |path: &str, text: &str| pictured(&File::new(path, text), &tree).len();
        assert_eq!(count("docs/images/a.svg", "<a>\n"), 0);
        assert_eq!(count("docs/images/a.svg", "<b>\n"), 1);
        assert_eq!(count("docs/plots/a.svg", "<b>\n"), 0);
    }

    #[test]
    fn a_hidden_line_is_reported() {
        let count = |path: &str, text: &str| whole(&File::new(path, text)).len();
        assert_eq!(
            count(VARIABLES, "# A\n```rust\n    # f();\n#\n#[test]\n```\n# B"),
            2
        );
        assert_eq!(count("src/a.rs", "```rust\n# f();\n```"), 0);
    }

    #[test]
    fn a_link_that_a_registry_cannot_follow_is_reported() {
        let tree = [
            File::new(LINKS, "[A.md]: crate::_documentation::a\n"),
            File::new(HEAD, "//! [docs/A.md]: _documentation::a\n"),
        ];
        let count = |path: &str, text: &str| published(&File::new(path, text), &tree).len();
        let page = "https://docs.rs/trefoil/latest/trefoil/_documentation";
        assert_eq!(count("README.md", &format!("[A.md]: {page}/a/")), 0);
        assert_eq!(count("README.md", &format!("[B.md]: {page}/b/")), 1);
        assert_eq!(count("README.md", "[a](#when-to-use-it)"), 0);
        assert_eq!(count("README.md", "[docs/A.md]: docs/A.md"), 0);
        assert_eq!(count("README.md", "[docs/B.md]: docs/B.md"), 1);
        assert_eq!(count("README.md", "see [a][docs/A.md]"), 0);
        assert_eq!(count("README.md", "see [docs/A.md]"), 1);
        assert_eq!(count("crates/a/README.md", "[docs/A.md]: docs/A.md"), 1);
        assert_eq!(count("crates/a/README.md", "![a](a.webp)"), 1);
        assert_eq!(count("tests/trefoil-checks/README.md", "[a](a.md)"), 0);
    }

    #[test]
    fn a_place_that_a_page_lacks_is_reported() {
        let tree = [File::new(
            "docs/A.md",
            "# The A\n## What's in `it`, today?\n",
        )];
        let count = |link: &str| {
            anchored(
                &File::new("docs/b/B.md", &format!("# B\n[x]({link})")),
                &tree,
            )
            .len()
        };
        assert_eq!(count("../A.md#the-a"), 0);
        assert_eq!(count("../A.md#whats-in-it-today"), 0);
        assert_eq!(count("../A.md#b"), 1);
        assert_eq!(count("../C.md#the-a"), 1);
        assert_eq!(count("#c"), 1);
        assert_eq!(count("https://x.y/z#c"), 0);
    }

    #[test]
    fn a_variable_that_no_table_names_is_reported() {
        let tree = [File::new(VARIABLES, "| `TREFOIL_A` | a |")];
        let count = |path: &str, text: &str| told(&File::new(path, text), &tree).len();
        assert_eq!(count("src/a.rs", "var(\"TREFOIL_A\")"), 0);
        assert_eq!(count("src/a.rs", "var(\"TREFOIL_B\")"), 1);
        assert_eq!(count("tests/a.rs", "var(\"TREFOIL_B\")"), 0);
    }
}
