//! A test with the smallest value, to be pasted.

use crate::capsule::Capsule;
use crate::functions::Function;
use crate::tree::Tree;

/// The longest literal.
const LONGEST: usize = 16 << 10;

/// The value as Rust, and a test with it.
pub(super) fn of(
    tree: &Tree,
    function: &Function,
    capsule: &Capsule,
    summary: &str,
) -> (String, String) {
    let parts = tree.weight().parts;
    let literal = tree.literal(function.argument, LONGEST);
    let path = capsule.path().to_string_lossy();
    let value = match &literal {
        Some(text) => text.clone(),
        None => format!("a value of {parts} parts, in {path}"),
    };
    let argument = literal.unwrap_or_else(|| {
        format!("trefoil_capsules::Capsule::open({path:?}).unwrap().argument().unwrap()")
    });
    let call = match &capsule.body.context {
        None => format!("{}(argument);", callable(function.name)),
        Some(_) => format!(
            "// (It borrows a context, which is in the file of the item.)\n    \
             {}(&context, argument);",
            callable(function.name)
        ),
    };
    let how = capsule.head.signature.to_string();
    let mut text = String::new();
    for line in how.lines().chain(summary.lines()) {
        text.push_str("/// ");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&format!(
        "// `#[trefoil_isolated::isolated]` here lets the other tests run on when it dies.\n\
         #[test]\n\
         fn {}_survives() {{\n    \
             let argument = {argument};\n    \
             {call}\n\
         }}\n",
        identifier(function.name)
    ));
    (value, text)
}

/// The name as a path that can be called: `app::rows::decode`, of a function that is called "decode
/// rows" `decode_rows`.
fn callable(name: &str) -> String {
    let is_path = name.split("::").all(|part| {
        let mut letters = part.chars();
        let begins = letters
            .next()
            .is_some_and(|it| it.is_alphabetic() || it == '_');
        begins && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    });
    if is_path {
        name.to_owned()
    } else {
        identifier(name)
    }
}

/// The last part of a name, as an identifier.
fn identifier(name: &str) -> String {
    let last = name.rsplit("::").next().unwrap_or_default();
    let mut text: String = last
        .chars()
        .map(|letter| {
            if letter.is_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    if text.chars().next().is_none_or(char::is_numeric) {
        text.insert(0, '_');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        assert_eq!(callable("app::rows::decode"), "app::rows::decode");
        assert_eq!(callable("decode rows"), "decode_rows");
        assert_eq!(identifier("7 rows"), "_7_rows");
        assert_eq!(identifier(""), "_");
    }
}
