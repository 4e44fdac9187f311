//! What a page of Markdown or HTML links to.
//!
//! No parser: seven ways in which a link begins, and what ends it. That misses what is
//! written in an unusual way, and takes no time.

use std::collections::BTreeSet;

/// How a link begins, what of that belongs to it, and what cannot stand in it.
const KINDS: [(&str, &str, &str); 7] = [
    ("](", "", ")> \n"),
    ("<http", "http", "> \n"),
    ("]: http", "http", "> \n"),
    ("href=\"", "", "\""),
    ("href='", "", "'"),
    ("src=\"", "", "\""),
    ("src='", "", "'"),
];

/// The links of a page, each once. Code, between one or three backticks, is left out.
#[must_use]
pub fn links(text: &str) -> BTreeSet<String> {
    let text: String = text.split("```").step_by(2).collect();
    let text: String = text.split('`').step_by(2).collect();
    let of_kind = |(begin, kept, ends): (&str, &str, &str)| {
        let link = |rest: &str| {
            let rest = rest.trim_start_matches('<');
            let mut depth = 0; // `](https://example.org/Leaf_(plant))`
            let end = rest.find(|c: char| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                ends.contains(c) && (c != ')' || depth < 0)
            })?;
            Some(format!("{kept}{}", &rest[..end]).replace("&amp;", "&"))
        };
        let found = text.split(begin).skip(1).filter_map(link);
        found.collect::<Vec<_>>()
    };
    KINDS.into_iter().flat_map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_however_they_are_written() {
        let page = "[a](one.md \"title\") [b](<two.md>) [c](http://x/Leaf_(plant)) <http://y/z>\n\
            [d]: https://w/v\n<a href=\"p?q=1&amp;r=2\"><img src=\"i.png\"><img src='j.png'>\n";
        let found = links(page);
        let expected = [
            "http://x/Leaf_(plant)",
            "http://y/z",
            "https://w/v",
            "i.png",
            "j.png",
            "one.md",
            "p?q=1&r=2",
            "two.md",
        ];
        assert_eq!(found.iter().collect::<Vec<_>>(), expected.each_ref());
    }

    #[test]
    fn code_is_no_link() {
        let page = "`a[0](b)` [`c`](d)\n```rust\ne[0](f)\n```\n[g](h)\n";
        assert_eq!(links(page).iter().collect::<Vec<_>>(), ["d", "h"]);
    }
}
