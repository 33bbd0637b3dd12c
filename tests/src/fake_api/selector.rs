//! Label and field selectors, as far as a DNS server uses them.

use serde_json::Value;

/// True when the object fits both selectors.
pub(super) fn fits(object: &Value, labels: &str, fields: &str) -> bool {
    requirements(labels).all(|requirement| label_fits(object, requirement))
        && requirements(fields).all(|requirement| field_fits(object, requirement))
}

/// Splits at commas outside parentheses.
fn requirements(selector: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let split = move |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    };
    selector
        .split(split)
        .map(str::trim)
        .filter(|requirement| !requirement.is_empty())
}

fn label_fits(object: &Value, requirement: &str) -> bool {
    let label = |key: &str| object["metadata"]["labels"][key.trim()].as_str();
    for (word, wanted) in [(" notin ", false), (" in ", true)] {
        if let Some((key, values)) = requirement.split_once(word) {
            let values = values.trim().trim_start_matches('(').trim_end_matches(')');
            let found = label(key).is_some_and(|have| values.split(',').any(|v| v.trim() == have));
            return found == wanted;
        }
    }
    if let Some((key, value)) = requirement.split_once("!=") {
        return label(key) != Some(value.trim());
    }
    if let Some((key, value)) = requirement
        .split_once("==")
        .or_else(|| requirement.split_once('='))
    {
        return label(key) == Some(value.trim());
    }
    match requirement.strip_prefix('!') {
        Some(key) => label(key).is_none(),
        None => label(requirement).is_some(),
    }
}

fn field_fits(object: &Value, requirement: &str) -> bool {
    let field = |path: &str| {
        let value = path
            .trim()
            .split('.')
            .fold(object, |value, key| &value[key]);
        value.as_str().unwrap_or_default().to_owned()
    };
    if let Some((path, value)) = requirement.split_once("!=") {
        return field(path) != value.trim();
    }
    match requirement
        .split_once("==")
        .or_else(|| requirement.split_once('='))
    {
        Some((path, value)) => field(path) == value.trim(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select() {
        let object = json!({
            "metadata": {"name": "x", "labels": {"tier": "front", "team": "red"}},
            "status": {"phase": "Running"},
        });
        for (labels, fields, expected) in [
            ("", "", true),
            ("tier=front,team==red", "", true),
            ("tier=back", "", false),
            ("tier!=back", "", true),
            ("none!=back", "", true),
            ("tier in (front, back),team notin (blue)", "", true),
            ("none in (front)", "", false),
            ("none notin (front)", "", true),
            ("tier", "", true),
            ("!tier", "", false),
            ("!none", "", true),
            ("", "status.phase!=Failed,status.phase!=Succeeded", true),
            ("", "status.phase!=Running", false),
            ("", "metadata.name=x", true),
            ("", "metadata.name=y", false),
        ] {
            assert_eq!(fits(&object, labels, fields), expected, "{labels} {fields}");
        }
    }
}
