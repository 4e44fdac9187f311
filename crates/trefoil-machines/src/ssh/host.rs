//! A machine's name, and how many workers it is to have.
//!
//! Tests: below.

/// One of the hosts that a user has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// In ssh's syntax.
    pub(crate) name: String,
    /// `None`: as many workers as the host has processors.
    pub(crate) slots: Option<usize>,
}

impl Host {
    /// Parses `name` or `name:slots`. Text with more than one colon is an IPv6 address, unless the
    /// address is in brackets.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, slots) = match text.rsplit_once(':') {
            Some((name, slots)) if !name.contains(':') || name.ends_with(']') => {
                let slots = slots.parse().ok().filter(|slots| *slots > 0);
                let Some(slots) = slots else {
                    return Err(format!(
                        "`{text}` is not a host: after the colon comes the number of its workers, \
                         at least 1 (for another port, use `.option(\"Port=...\")`)"
                    ));
                };
                (name, Some(slots))
            }
            _ => (text, None),
        };
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let name = bare.unwrap_or(name);
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.starts_with('-') || name.contains(odd) {
            return Err(format!("`{text}` is not the name of a host"));
        }
        Ok(Self {
            name: name.to_owned(),
            slots,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_maybe_a_number() {
        let host = |text| Host::parse(text).map(|host| (host.name, host.slots));
        let named = |name: &str, slots| Ok((name.to_owned(), slots));
        assert_eq!(host("node1"), named("node1", None));
        assert_eq!(host("ada@node2:8"), named("ada@node2", Some(8)));
        assert_eq!(host("::1"), named("::1", None));
        assert_eq!(host("[::1]:3"), named("::1", Some(3)));
        for wrong in [
            "",
            "node:",
            "node:0",
            "node:x",
            "-oProxyCommand=x",
            ":3",
            "a b",
            "a\n",
        ] {
            let error = host(wrong).unwrap_err();
            assert!(error.contains(wrong) && error.contains("host"), "{error}");
        }
    }
}
