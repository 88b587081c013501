//! `orrery lake promote`, `demote` and `columns`: asks a running server for columns of attribute keys. Where scope or type
//! are not given, they are those of the key in the last day, if that leaves no choice.

use std::process::ExitCode;

use anyhow::{Result, bail};
use orrery_api::{AttributeKey, Attributes};
use serde_json::{Map, Value, json};

use crate::cli::{KeyFlags, PromoteFlags, Target};
use crate::client::Client;
use crate::say::say;

pub fn promote(flags: &PromoteFlags) -> Result<ExitCode> {
    let KeyFlags { key, table, scope, target } = &flags.key;
    let client = client(target)?;
    let (scope, value_type) = match (scope, &flags.value_type) {
        (Some(scope), Some(value_type)) => (scope.clone(), value_type.clone()),
        (scope, value_type) => {
            let seen = look_up(&client, table, key, scope.as_deref())?;
            let value_type = value_type.clone().map_or_else(|| only_type(&seen), Ok)?;
            (seen.scope, value_type)
        }
    };
    let body = json!({"key": key, "table": table, "scope": scope, "type": value_type}).to_string();
    let column: Map<String, Value> =
        serde_json::from_reader(client.post("/api/v1/lake/promote", &body, "application/json")?)?;
    say!("{} has column {} from the next files on", text(&column, "table"), text(&column, "column"));
    Ok(ExitCode::SUCCESS)
}

pub fn demote(flags: &KeyFlags) -> Result<ExitCode> {
    let client = client(&flags.target)?;
    let scope = flags.scope.clone().map_or_else(|| learned_scope(&client, &flags.table, &flags.key), Ok)?;
    let body = json!({"key": flags.key, "table": flags.table, "scope": scope}).to_string();
    let answer = client.post("/api/v1/lake/demote", &body, "application/json")?;
    let column: Map<String, Value> = serde_json::from_reader(answer)?;
    say!("{} writes column {} no more", text(&column, "table"), text(&column, "column"));
    Ok(ExitCode::SUCCESS)
}

pub fn list(target: &Target) -> Result<ExitCode> {
    for column in &columns(&client(target)?)? {
        let state = if column["in_use"] == true { "in use" } else { "out of use" };
        say!(
            "{:<8} {:<7} {:<10} {:>7} files  {}",
            text(column, "table"),
            text(column, "type"),
            state,
            text(column, "files"),
            text(column, "column")
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn columns(client: &Client) -> Result<Vec<Map<String, Value>>> {
    let mut answer: Value = serde_json::from_reader(client.get("/api/v1/lake/columns")?)?;
    Ok(serde_json::from_value(answer["columns"].take())?)
}

/// The scope in which the table has learned the key.
fn learned_scope(client: &Client, table: &str, key: &str) -> Result<String> {
    let columns = columns(client)?;
    let mut scopes = columns.iter().filter(|column| column["table"] == table && column["key"] == key);
    match (scopes.next(), scopes.next()) {
        (Some(one), None) => Ok(text(one, "scope")),
        (None, _) => bail!("table {table} has not learned {key:?}"),
        _ => bail!("{table} has columns of {key:?} in several scopes; say --scope"),
    }
}

fn client(target: &Target) -> Result<Client> {
    Client::new(&target.endpoint, &target.credentials)
}

fn text(column: &Map<String, Value>, name: &str) -> String {
    column.get(name).map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// What the last day's records say of a key.
fn look_up(client: &Client, table: &str, key: &str, scope: Option<&str>) -> Result<AttributeKey> {
    let path = format!("/api/v1/attributes?start=-24h&signal={table}&key={}", escaped(key));
    let answer: Attributes = serde_json::from_reader(client.get(&path)?)?;
    let mut seen: Vec<AttributeKey> =
        answer.attributes.into_iter().filter(|seen| scope.is_none_or(|scope| seen.scope == scope)).collect();
    match (seen.pop(), seen.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => bail!("no record of {table} of the last day has {key:?}; say --scope and --type"),
        _ => bail!("{key:?} is set in several scopes; say --scope"),
    }
}

fn only_type(seen: &AttributeKey) -> Result<String> {
    match seen.types.as_slice() {
        [one] if one == "string" || one == "int" => Ok(one.clone()),
        [one] => bail!("the values of {:?} are of type {one}, and a column holds string or int", seen.key),
        types => bail!("the values of {:?} are of types {}; say --type", seen.key, types.join(", ")),
    }
}

/// As a value in a query string.
fn escaped(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
