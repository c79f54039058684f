//! `/openapi.json`: OpenAPI 3.1, made from the table of routes and the documents' own schemas.

use ringvault_core::api::Problem;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    auth::Access,
    route::{Content, Route},
};

/// The description of the API.
pub(super) fn describe(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut generator);
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringvault",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Backup, verify, restore and purge for Apache Cassandra. Documents are only ever added to: ignore fields that you do not know.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "It was refused, or failed; `code` says why, `next` what to do.",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters(route, generator),
        "responses": responses(route, generator),
    });
    if !route.takes.is_empty() {
        let content: Map<String, Value> =
            route.takes.iter().map(|content| describe_content(content, generator)).collect();
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    match route.access {
        Access::Open => operation["security"] = json!([]),
        Access::Needs(role) => {
            operation["security"] = json!([{ "token": [] }]);
            operation["x-ringvault-role"] = json!(role.as_str());
        }
    }
    operation
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let (status, content) = &route.answer;
    let mut answer = json!({ "description": "Done." });
    if let Some(content) = content {
        let (media, described) = describe_content(content, generator);
        answer["content"] = json!({ media: described });
    }
    json!({
        status.to_string(): answer,
        "default": { "$ref": "#/components/responses/Problem" },
    })
}

fn describe_content(content: &Content, generator: &mut SchemaGenerator) -> (String, Value) {
    let schema = match content.schema {
        Some(make) => make(generator).to_value(),
        None => json!({ "type": "string" }),
    };
    (content.media.to_owned(), json!({ "schema": schema }))
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters: Vec<Value> = path_names(route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if route.idempotent_by_key {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "The same key with the same body finds what it created before.",
            "schema": { "type": "string", "maxLength": 255 },
        }));
        parameters.push(json!({
            "name": "traceparent",
            "in": "header",
            "required": false,
            "description": "W3C trace context: the job is part of the caller's trace. One that cannot be read is none.",
            "schema": { "type": "string" },
        }));
    }
    if let Some(make) = route.query {
        parameters.extend(query(make, generator));
    }
    parameters
}

/// The properties of the query's object, a parameter each.
fn query(make: fn(&mut SchemaGenerator) -> schemars::Schema, generator: &mut SchemaGenerator) -> Vec<Value> {
    let reference = make(generator).to_value();
    let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    // A query is no document of its own: its parts become parameters, its schema goes.
    let Some(schema) = generator.definitions_mut().remove(name) else {
        return Vec::new();
    };
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    properties
        .into_iter()
        .map(|(name, mut schema)| {
            let text = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({ "name": name, "in": "query", "required": false, "description": text, "schema": schema })
        })
        .collect()
}

/// The names in braces.
fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ringvault_core::api::Role;

    use super::*;
    use crate::api::routes;

    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let routes = routes::all();
        let description = describe(&routes);
        let mut names = BTreeSet::new();
        for route in &routes {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &description["paths"][route.path][&method];
            assert_eq!(operation["operationId"], route.name, "{method} {}", route.path);
            assert!(!route.summary.is_empty() && names.insert(route.name), "{}", route.name);
            let in_path = operation["parameters"].as_array().unwrap().iter();
            let in_path = in_path.filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, route.path.matches('{').count(), "{}", route.path);
            match route.access {
                Access::Open => assert_eq!(operation["security"], json!([])),
                Access::Needs(role) => {
                    assert_eq!(operation["x-ringvault-role"], role.as_str());
                }
            }
        }
        let described: usize = description["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|item| item.as_object().unwrap().len())
            .sum();
        assert_eq!(described, routes.len(), "two routes have the same method and path");
        check_references(&description, &description);
    }

    fn check_references(value: &Value, whole: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(whole.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                fields.values().for_each(|value| check_references(value, whole));
            }
            Value::Array(items) => items.iter().for_each(|value| check_references(value, whole)),
            _ => {}
        }
    }

    #[test]
    fn what_changes_something_needs_more_than_a_viewer() {
        for route in routes::all() {
            if route.path == routes::SESSION {
                continue;
            }
            let only_looks = route.method == "GET" || route.path.ends_with("/preview");
            match route.access {
                Access::Open => assert_eq!(route.method, "GET", "{}", route.path),
                Access::Needs(role) => assert!(only_looks || role > Role::Viewer, "{}", route.path),
            }
        }
    }
}
