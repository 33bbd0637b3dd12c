//! `{$NAME}` and `{%NAME%}`: variables of the environment inside words.

/// Replaces the variables in `text`; `None` when it holds none. A variable that is not set counts as
/// empty, and its name is passed to `unset`.
///
/// What a variable holds is searched for variables again, as CoreDNS does; unlike there, a variable
/// that holds itself ends in its own name instead of an endless loop.
pub(super) fn substitute(
    text: &str,
    variable: fn(&str) -> Option<String>,
    mut unset: impl FnMut(&str),
) -> Option<String> {
    let mut result = None;
    for (open, close) in [("{%", "%}"), ("{$", "}")] {
        for _ in 0..ROUNDS_MAX {
            let current = result.as_deref().unwrap_or(text);
            let Some(start) = current.find(open) else {
                break;
            };
            let Some(length) = current[start..].find(close) else {
                break;
            };
            if length <= open.len() || current.len() > LENGTH_MAX {
                break;
            }
            let reference = &current[start..start + length + close.len()];
            let name = &current[start + open.len()..start + length];
            let value = variable(name).unwrap_or_else(|| {
                unset(name);
                String::new()
            });
            result = Some(current.replace(reference, &value));
        }
    }
    result
}

/// How often a word is searched for variables of each form.
const ROUNDS_MAX: usize = 64;

/// How long a word may grow, in bytes, and still be searched.
const LENGTH_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "A" => "x",
            "B" => "{$A}{%A%}",
            "LOOP" => "{$LOOP}",
            "BOMB" => "{$BOMB}{$BOMB}",
            "SPACE NAME" => "s",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn replaces_variables() {
        for (text, expected) in [
            ("plain", None),
            ("{$A}", Some("x")),
            ("{%A%}", Some("x")),
            ("a{$A}b{$A}c{%A%}", Some("axbxcx")),
            ("{$UNSET}", Some("")),
            ("{$}", None),
            ("{%%}", None),
            ("{$A", None),
            ("{{$A}}", Some("{x}")),
            // The Windows form is searched first, so what a `{$…}` holds is not searched for it.
            ("{$B}", Some("x{%A%}")),
            ("{%B%}", Some("xx")),
            ("{$SPACE NAME}", Some("s")),
            ("{$LOOP}", Some("{$LOOP}")),
            ("{$}{$A}", None),
        ] {
            assert_eq!(
                substitute(text, variable, |_| ()).as_deref(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn names_what_is_unset() {
        let mut names = Vec::new();
        substitute("{$UNSET}{%OTHER%}", variable, |name| {
            names.push(name.to_owned())
        });
        assert_eq!(names, ["OTHER", "UNSET"]);
    }

    #[test]
    fn ends_when_a_variable_explodes() {
        let text = substitute("{$BOMB}", variable, |_| ()).expect("was replaced");
        assert!(text.len() <= 4 * LENGTH_MAX);
    }
}
