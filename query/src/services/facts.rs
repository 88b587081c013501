//! What spans say of their services: versions, environments, languages, instances, and when they were first and last
//! heard of. Gathered from spans, or from what was gathered of them beforehand.

use hashbrown::{HashMap, HashSet};

use crate::columns::Columns;
use crate::spans::node::service_id;
use crate::{QueryError, Session};

/// Distinct versions and environments of a service that are shown at most.
const MAX_WORDS: usize = 50;

/// One way in which spans speak of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `service.name`, `service.namespace`, version, environment, language and instance.
    pub words: [Option<String>; 6],
    /// What was grouped by.
    pub group: i64,
    pub first_ns: i64,
    pub last_ns: i64,
}

/// What a service says of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub namespace: Option<String>,
    pub environments: Vec<String>,
    pub versions: Vec<String>,
    /// Of several the first by its name.
    pub language: Option<String>,
    pub instances: u64,
    pub first_ns: i64,
    pub last_ns: i64,
    seen: HashSet<[Option<String>; 6]>,
}

/// Asks spans that meet an SQL condition, grouped by an integer SQL expression.
pub async fn facts(session: &Session, condition: &str, group: &str) -> Result<Vec<Fact>, QueryError> {
    let query = format!(
        "SELECT {group} AS part, service_name, service_namespace, service_version, deployment_environment, \
         \"resource_attributes.telemetry.sdk.language\" AS language, \
         coalesce(service_instance_id, \"resource_attributes.k8s.pod.name\", \"resource_attributes.host.name\") AS instance, \
         min(timestamp) AS first, max(timestamp) AS last FROM spans WHERE {condition} GROUP BY 1, 2, 3, 4, 5, 6, 7"
    );
    let mut found = Vec::new();
    for batch in session.collect(&query).await?.0 {
        let batch = Columns(&batch);
        let (first, last, part) = (batch.integers("first")?, batch.integers("last")?, batch.integers("part")?);
        let names = ["service_name", "service_namespace", "service_version", "deployment_environment", "language"];
        let mut words = Vec::with_capacity(6);
        for name in names.into_iter().chain(["instance"]) {
            words.push(batch.text(name)?);
        }
        found.extend((0..batch.0.num_rows()).map(|i| Fact {
            words: std::array::from_fn(|word| words[word].owned(i)),
            group: part.or_zero(i),
            first_ns: first.or_zero(i),
            last_ns: last.or_zero(i),
        }));
    }
    Ok(found)
}

/// By service id.
pub fn by_service(facts: impl IntoIterator<Item = Fact>) -> HashMap<String, Facts> {
    let mut all: HashMap<String, Facts> = HashMap::new();
    for Fact { words, first_ns, last_ns, .. } in facts {
        let words = words.map(|word| word.filter(|w| !w.is_empty()));
        let [name, namespace, version, environment, language, instance] = &words;
        let id = service_id(name.as_deref().unwrap_or_default(), namespace.as_deref());
        let facts = all.entry(id).or_insert_with(|| Facts { first_ns, last_ns, ..Facts::default() });
        facts.namespace.clone_from(namespace);
        add_word(&mut facts.versions, version.as_deref());
        add_word(&mut facts.environments, environment.as_deref());
        if language.is_some() && (facts.language.is_none() || *language < facts.language) {
            facts.language.clone_from(language);
        }
        facts.first_ns = facts.first_ns.min(first_ns);
        facts.last_ns = facts.last_ns.max(last_ns);
        if instance.is_some() && facts.seen.insert(words.clone()) {
            facts.instances += 1;
        }
    }
    all
}

/// The first words by their bytes.
fn add_word(words: &mut Vec<String>, word: Option<&str>) {
    if let Some(word) = word
        && let Err(at) = words.binary_search_by(|w| w.as_str().cmp(word))
    {
        words.insert(at, word.to_owned());
        words.truncate(MAX_WORDS);
    }
}
