use super::*;

struct Outside;

impl Surroundings for Outside {
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, ScriptError> {
        match (name, arguments) {
            ("name", []) => Ok(Value::str("a.example.org.")),
            ("twice", [Value::Int(value)]) => Ok(Value::Int(2 * value)),
            _ => ScriptError::new("twice what?"),
        }
    }

    fn variable(&self, _: &str) -> Value {
        Value::List(vec![Value::str("x"), Value::str("y")])
    }
}

fn evaluate(text: &str) -> Result<String, ScriptError> {
    let known = Known {
        functions: &[("name", 0), ("twice", 1)],
        variables: &["parts".to_owned()],
    };
    let value = Expression::new(text, known)?.evaluate(&Outside)?;
    Ok(value.to_string())
}

#[test]
fn operators_bind_as_in_expr_lang() {
    for (text, expected) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("-2 + 3", "1"),
        ("10 % 4 - 1 == 1 && true", "true"),
        ("7 / 2", "3.5"),
        ("true || false && false", "true"),
        ("not true or true", "true"),
        ("!(1 > 2)", "true"),
        ("not (1 in [1, 2])", "false"),
        ("3 not in [1, 2]", "true"),
        ("'A' in ['TXT', \"MX\"]", "false"),
        ("name() matches '^a\\\\.ex'", "true"),
        (
            "name() contains 'example' and name() endsWith '.org.'",
            "true",
        ),
        ("name() startsWith `b`", "false"),
        ("1 <= 2 ? 'yes' : 'no'", "yes"),
        ("twice(twice(2)) >= 8.0", "true"),
        ("parts[1] + parts[-2]", "yx"),
        ("len(parts)", "2"),
        ("split('a-b', '-')[1]", "b"),
        ("int('12') + 0x10", "28"),
        ("upper('a') == 'A' && lower('B') == 'b'", "true"),
        ("nil == nil", "true"),
        ("1 == '1'", "false"),
    ] {
        assert_eq!(evaluate(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_are_told() {
    for (text, expected) in [
        ("", "the expression ends too early"),
        ("1 +", "the expression ends too early"),
        ("1 2", "unexpected `2`"),
        ("(1", "expected `)`, found the end"),
        ("nome()", "there is no function `nome` here"),
        ("name(1)", "`name` takes 0 argument(s), not 1"),
        ("port", "there is no variable `port` here"),
        ("'open", "a quote is never closed"),
        ("1 # 2", "unexpected `#`"),
        ("1 && true", "int in the place of a bool"),
        ("1 < 'a'", "Less does not go with int and string"),
        ("1 matches 'a'", "matches with int"),
        (
            "name() matches name()",
            "`matches` needs its expression as a text in quotes",
        ),
        ("parts[2]", "there is no `2` in list"),
        ("twice('a')", "twice what?"),
    ] {
        let found = evaluate(text).map_err(|error| error.to_string());
        assert_eq!(found, Err(expected.to_owned()), "{text}");
    }
    let deep = "(".repeat(500);
    assert!(evaluate(&deep).is_err());
}
