//! A strict reader of JSON, as small as it can be: what it takes, every other reader takes.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text };
        let value = reader.value()?;
        reader.space();
        match reader.rest {
            "" => Ok(value),
            rest => Err(format!("more behind the end: {:.40}", rest)),
        }
    }

    /// The member of an object; `Null` if there is none.
    pub(crate) fn get(&self, key: &str) -> &Self {
        match self {
            Self::Object(members) => members.get(key).unwrap_or(&Self::Null),
            _ => &Self::Null,
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub(crate) fn number(&self) -> f64 {
        match self {
            Self::Number(number) => number.parse().unwrap(),
            other => panic!("{other:?} is no number"),
        }
    }

    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, token: &str) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.takes(token) {
            true => Ok(()),
            false => Err(format!("{token} expected: {:.40}", self.rest)),
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        self.space();
        match self.rest.chars().next() {
            Some('{') => self.object(),
            Some('[') => self.array(),
            Some('"') => self.string().map(Json::Text),
            Some('-' | '0'..='9') => self.digits(),
            _ if self.takes("true") => Ok(Json::Bool(true)),
            _ if self.takes("false") => Ok(Json::Bool(false)),
            _ if self.takes("null") => Ok(Json::Null),
            _ => Err(format!("a value expected: {:.40}", self.rest)),
        }
    }

    fn object(&mut self) -> Result<Json, String> {
        self.expect("{")?;
        let mut members = BTreeMap::new();
        if self.takes("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.expect(":")?;
            let value = self.value()?;
            if members.insert(key.clone(), value).is_some() {
                return Err(format!("{key} twice"));
            }
            if self.takes("}") {
                return Ok(Json::Object(members));
            }
            self.expect(",")?;
        }
    }

    fn array(&mut self) -> Result<Json, String> {
        self.expect("[")?;
        let mut list = Vec::new();
        if self.takes("]") {
            return Ok(Json::List(list));
        }
        loop {
            list.push(self.value()?);
            if self.takes("]") {
                return Ok(Json::List(list));
            }
            self.expect(",")?;
        }
    }

    fn digits(&mut self) -> Result<Json, String> {
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        let whole = number.trim_start_matches('-').split(['.', 'e', 'E']).next();
        let zeros = whole.is_some_and(|whole| whole.len() > 1 && whole.starts_with('0'));
        if number.parse::<f64>().is_err() || zeros || number.ends_with('.') {
            return Err(format!("{number} is no number"));
        }
        self.rest = rest;
        Ok(Json::Number(number.to_owned()))
    }

    fn string(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self
            .rest
            .strip_prefix('"')
            .ok_or("a string expected")?
            .chars();
        loop {
            match chars.next().ok_or("a string without an end")? {
                '"' => break,
                '\\' => match chars.next().ok_or("a string without an end")? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'u' => {
                        let (code, rest) = chars.as_str().split_at(4);
                        let code = u32::from_str_radix(code, 16).map_err(|e| e.to_string())?;
                        text.push(char::from_u32(code).ok_or("no character")?);
                        chars = rest.chars();
                    }
                    c @ ('"' | '\\' | '/') => text.push(c),
                    c => return Err(format!("\\{c} is no escape")),
                },
                c if c < ' ' => return Err(format!("{c:?} in a string")),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }
}

#[test]
fn the_reader_is_strict() {
    for good in [
        "{}",
        "[1, -2.5e3, \"\\u0041\\\"\", true, null]",
        " {\"a\":[]} ",
    ] {
        assert!(Json::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        "\"\n\"",
        "\"\\x\"",
        "[] []",
        "{\"a\":1,\"a\":2}",
        "nul",
    ] {
        assert!(Json::parse(bad).is_err(), "{bad}");
    }
}
