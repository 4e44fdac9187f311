//! The attribute of the crate [trefoil-isolated](https://docs.rs/trefoil-isolated), which documents
//! it.
#![deny(unsafe_code)]

mod expansion;
mod settings;

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// Runs the body of a test in a process of its own: see the crate `trefoil-isolated`.
///
/// ```text
/// #[test]
/// #[isolated(timeout = "5s", memory = "1GiB", retries = 2)]
/// fn it_survives() { .. }
/// ```
#[proc_macro_attribute]
pub fn isolated(settings: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = settings::Settings::parse(settings)
        .and_then(|settings| expansion::expand(settings, item.clone()));
    match expanded {
        Ok(tokens) => tokens,
        Err(refused) => {
            // The item stays, so that there is one error and not two.
            let mut tokens = refused.compile_error();
            tokens.extend(item);
            tokens
        }
    }
}

/// What is wrong, and where.
struct Refused {
    at: Span,
    why: String,
}

impl Refused {
    fn new(at: Span, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { at, why }
    }

    /// `::core::compile_error! { "why" }`
    fn compile_error(self) -> TokenStream {
        let punct = |letter, spacing| TokenTree::from(Punct::new(letter, spacing));
        let path = ["core", "compile_error"].into_iter().flat_map(|name| {
            [
                punct(':', Spacing::Joint),
                punct(':', Spacing::Alone),
                Ident::new(name, self.at).into(),
            ]
        });
        let text = TokenTree::from(Literal::string(&self.why));
        let text = Group::new(Delimiter::Brace, text.into());
        let all = path.chain([punct('!', Spacing::Alone), text.into()]);
        all.map(|mut token| {
            token.set_span(self.at);
            token
        })
        .collect()
    }
}
