//! `edns0 local|nsid|subnet set|append|replace|unset … [revert]`

use martlet_engine::plugins::metadata::Label;
use martlet_engine::plugins::rewrite::{EdnsAction, EdnsOption, EdnsRule, Variable};

use super::Words;
use crate::corefile::args::Arg;
use crate::corefile::error::Problem;

/// Reads what stands behind `edns0`.
pub(super) fn rule(words: &mut Words<'_, '_>) -> Result<EdnsRule, Problem> {
    let kind = words.next("local, nsid or subnet")?;
    let action = words.next("set, append, replace or unset")?;
    let action = match &*action.text().to_ascii_lowercase() {
        "set" => EdnsAction::Set,
        "append" => EdnsAction::Append,
        "replace" => EdnsAction::Replace,
        "unset" => EdnsAction::Unset,
        _ => {
            let known = ["set", "append", "replace", "unset"];
            return Err(action.unknown_word(known.into_iter()));
        }
    };
    let unsets = action == EdnsAction::Unset;
    let option = match &*kind.text().to_ascii_lowercase() {
        "local" => {
            let code = words.next("the code of an option")?;
            let code = integer(code)?;
            if unsets {
                EdnsOption::Local(code, Box::default())
            } else {
                local(code, words.next("the data of the option")?)?
            }
        }
        "nsid" => EdnsOption::Nsid,
        "subnet" if unsets => EdnsOption::Subnet(0, 0),
        "subnet" => {
            let expected = "two prefix lengths, for IPv4 and IPv6";
            let (v4, v6) = (words.next(expected)?, words.next(expected)?);
            EdnsOption::Subnet(
                prefix(v4, 32, "from 0 to 32")?,
                prefix(v6, 128, "from 0 to 128")?,
            )
        }
        _ => return Err(kind.unknown_word(["local", "nsid", "subnet"].into_iter())),
    };
    let reverts = words
        .words
        .as_slice()
        .last()
        .is_some_and(|word| word.text() == "revert");
    let revert = !unsets && reverts && words.words.next().is_some();
    Ok(EdnsRule {
        action,
        option,
        revert,
    })
}

/// As Go reads integers: `0x` for hexadecimal, `0o` or `0` for octal, `0b` for binary.
fn integer(argument: Arg<'_>) -> Result<u16, Problem> {
    let text = argument.text().to_ascii_lowercase();
    let parsed = match text.as_bytes() {
        [b'0', b'x', ..] => u16::from_str_radix(&text[2..], 16),
        [b'0', b'o', ..] => u16::from_str_radix(&text[2..], 8),
        [b'0', b'b', ..] => u16::from_str_radix(&text[2..], 2),
        [b'0', _, ..] => u16::from_str_radix(&text[1..], 8),
        _ => text.parse(),
    };
    parsed.map_err(|_| argument.is_not("a number from 0 to 65535, such as 0xffee"))
}

fn prefix(argument: Arg<'_>, max: u16, range: &'static str) -> Result<u8, Problem> {
    match integer(argument)? {
        bits if bits <= max => Ok(bits as u8),
        _ => Err(argument.out_of(range)),
    }
}

/// Text, `0x` and hexadecimal digits, or a variable in braces.
fn local(code: u16, data: Arg<'_>) -> Result<EdnsOption, Problem> {
    let text = data.text();
    if let Some(name) = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
    {
        let variable = match name {
            "qname" => Variable::Qname,
            "qtype" => Variable::Qtype,
            "client_ip" => Variable::ClientIp,
            "client_port" => Variable::ClientPort,
            "protocol" => Variable::Protocol,
            "server_ip" => Variable::ServerIp,
            "server_port" => Variable::ServerPort,
            label if label.trim_matches('/').contains('/') => {
                let known = Label::named(label);
                if known.is_none() {
                    data.warn(format!(
                        "no plugin gives the label `{label}`; the rule does nothing"
                    ));
                }
                Variable::Label(known)
            }
            _ => return Err(data.is_not("a variable, such as {qname} or {client_ip}")),
        };
        return Ok(EdnsOption::Variable(code, variable));
    }
    let octets = match text.strip_prefix("0x") {
        None => text.as_bytes().to_vec(),
        Some(digits) => {
            let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
                [_, _] => std::str::from_utf8(pair).ok(),
                _ => None,
            });
            let octets = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
            octets
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| data.is_not("hexadecimal digits in pairs"))?
        }
    };
    Ok(EdnsOption::Local(code, octets.into()))
}
