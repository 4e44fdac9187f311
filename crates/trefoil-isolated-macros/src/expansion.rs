//! What a test becomes.
//!
//! ```text
//!   #[test] #[should_panic] fn name() -> R { body }
//! ```
//! becomes, with its attributes,
//! ```text
//!   #[test] #[should_panic] fn name() {
//!       fn name() -> R { body }
//!       ::trefoil_isolated::__run(settings, |job| ::trefoil_isolated::__inside(job, name))
//!   }
//! ```
//! The closure captures nothing, so that it can be called in another process. The tokens of the
//! test are passed on as they are, with their places: the compiler's messages point to them. A
//! parser of the language is not needed: a function's head has few forms, and its body is one
//! token.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

use crate::{Refused, settings::Settings};

pub(crate) fn expand(settings: Settings, item: TokenStream) -> Result<TokenStream, Refused> {
    let test = Test::parse(item)?;
    let call = format!(
        "::trefoil_isolated::__run(
            ::trefoil_isolated::__Settings {{
                timeout: {}u64, memory: {}u64, retries: {}u32,
                may_leak: {}, should_panic: {}, name: ::core::stringify!({name}),
            }},
            |job| ::trefoil_isolated::__inside(job, {body}),
        )",
        settings.timeout.unwrap_or(0),
        settings.memory.unwrap_or(0),
        settings.retries,
        settings.may_leak,
        test.should_panic,
        name = test.name,
        body = match test.is_async {
            true => format!("|| ::trefoil_isolated::__on_loop({}())", test.name),
            false => test.name.to_string(),
        },
    );
    let call: TokenStream = call
        .parse()
        .map_err(|_| Refused::new(test.name.span(), "its name makes no call"))?;
    // Of the call, only the name is the user's; an error in it is shown at the attribute.
    let mut body = TokenStream::from_iter(test.inner);
    body.extend(call);
    let mut all = TokenStream::from_iter(test.before);
    all.extend([
        TokenTree::from(Ident::new("fn", test.name.span())),
        test.name.into(),
        Group::new(Delimiter::Parenthesis, TokenStream::new()).into(),
        Group::new(Delimiter::Brace, body).into(),
    ]);
    Ok(all)
}

/// A function, as far as it matters.
struct Test {
    /// Its attributes and visibility.
    before: Vec<TokenTree>,
    name: Ident,
    is_async: bool,
    should_panic: bool,
    /// It without them.
    inner: Vec<TokenTree>,
}

impl Test {
    fn parse(item: TokenStream) -> Result<Self, Refused> {
        let mut tokens = item.into_iter().peekable();
        let (mut before, mut inner) = (Vec::new(), Vec::new());
        let (mut is_async, mut should_panic) = (false, false);
        let no_test = |at: Span| {
            Refused::new(
                at,
                "`#[isolated]` belongs on a test: a function without arguments",
            )
        };
        loop {
            let Some(token) = tokens.next() else {
                return Err(no_test(Settings::at_call()));
            };
            match &token {
                TokenTree::Punct(hash) if hash.as_char() == '#' => {
                    before.push(token);
                    let Some(TokenTree::Group(group)) = tokens.next() else {
                        return Err(no_test(Settings::at_call()));
                    };
                    let name = group.stream().into_iter().next();
                    should_panic |= name.is_some_and(|name| name.to_string() == "should_panic");
                    before.push(group.into());
                }
                TokenTree::Ident(word) => match word.to_string().as_str() {
                    "pub" => {
                        before.push(token);
                        if let Some(TokenTree::Group(_)) = tokens.peek() {
                            before.extend(tokens.next());
                        }
                    }
                    "async" => {
                        is_async = true;
                        inner.push(token);
                    }
                    "fn" => {
                        inner.push(token);
                        break;
                    }
                    _ => return Err(no_test(token.span())),
                },
                // (Something that another macro has passed on.)
                TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                    before.push(token);
                }
                _ => return Err(no_test(token.span())),
            }
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else {
            return Err(no_test(Settings::at_call()));
        };
        inner.push(name.clone().into());
        match tokens.next() {
            Some(TokenTree::Group(none)) if none.stream().is_empty() => inner.push(none.into()),
            Some(other) => {
                return Err(Refused::new(
                    other.span(),
                    "a test has no arguments and no parameters: `fn name() { .. }`",
                ));
            }
            None => return Err(no_test(name.span())),
        }
        inner.extend(tokens);
        match inner.last() {
            Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {}
            _ => return Err(no_test(name.span())),
        }
        Ok(Self {
            before,
            name,
            is_async,
            should_panic,
            inner,
        })
    }
}
