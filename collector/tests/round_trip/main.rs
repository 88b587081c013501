//! Losslessness: OTLP → Arrow → Parquet → OTLP gives the multiset of (resource, scope, record) that was sent, whatever
//! OTLP can say. prost is the oracle.

#![allow(clippy::unwrap_used)] // Integration tests are no test functions to the lint.

mod canonical;
mod generate;
mod real;

use arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use orrery_collector::decode::{DecodeError, DecodeLimits, Decoded, OtlpDecoder, decode};
use orrery_collector::export;
use orrery_model::{Signal, table};
use orrery_storage::Decode;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use prost::Message;

const RECEIVED_NS: i64 = 1_700_000_000_000_000_000;

fn decoded(signal: Signal, body: &[u8]) -> Result<Decoded, DecodeError> {
    decode(signal, body, RECEIVED_NS, &DecodeLimits::default())
}

/// The batch as a Parquet file gives it back.
fn through_parquet(batch: &RecordBatch) -> RecordBatch {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    let batches: Vec<_> = reader.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batch.schema(), &batches).unwrap()
}

/// The records of a request in canonical form, sorted.
fn canonical(signal: Signal, body: &[u8]) -> Vec<String> {
    match signal {
        Signal::Spans => canonical::traces(ExportTraceServiceRequest::decode(body).unwrap()),
        Signal::Logs => canonical::logs(ExportLogsServiceRequest::decode(body).unwrap()),
        Signal::Metrics => canonical::metrics(ExportMetricsServiceRequest::decode(body).unwrap()),
    }
}

/// The request that rows came from.
fn exported(signal: Signal, batch: &RecordBatch) -> Vec<u8> {
    match signal {
        Signal::Spans => export::traces(batch).unwrap().encode_to_vec(),
        Signal::Logs => export::logs(batch).unwrap().encode_to_vec(),
        Signal::Metrics => export::metrics(batch).unwrap().encode_to_vec(),
    }
}

fn check_round_trip(signal: Signal, body: &[u8]) {
    let decoded = decoded(signal, body).unwrap();
    assert_eq!(decoded.reject_message, None);
    assert_eq!(decoded.batch.schema(), table(signal).schema);
    let sent = canonical(signal, body);
    assert_eq!(decoded.batch.num_rows(), sent.len());
    pretty_eq(&canonical(signal, &exported(signal, &decoded.batch)), &sent);
    let stored = through_parquet(&decoded.batch);
    assert_eq!(stored, decoded.batch);
    assert_eq!(OtlpDecoder.decode(signal, body, RECEIVED_NS).unwrap(), decoded.batch);
}

/// Records that cannot be stored go, the others stay, and the accepted body holds exactly those.
fn check_rejection(signal: Signal, good: &[u8], mixed: &[u8], rejected: u64) {
    let expected = decoded(signal, good).unwrap().batch;
    let decoded = decoded(signal, mixed).unwrap();
    assert_eq!(decoded.rejected, rejected);
    assert_eq!(decoded.reject_message.is_some(), rejected > 0);
    assert_eq!(decoded.batch, expected);
    let accepted = decoded.accepted_body.unwrap_or_else(|| mixed.to_vec());
    assert_eq!(OtlpDecoder.decode(signal, &accepted, RECEIVED_NS).unwrap(), expected);
}

fn pretty_eq(left: &[String], right: &[String]) {
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left, right);
    }
    assert_eq!(left.len(), right.len());
}

/// prost takes it exactly if we do, but for what prost lacks: rejecting a record instead of the request.
fn check_agreement(signal: Signal, body: &[u8]) {
    let oracle = match signal {
        Signal::Spans => ExportTraceServiceRequest::decode(body).map(drop),
        Signal::Logs => ExportLogsServiceRequest::decode(body).map(drop),
        Signal::Metrics => ExportMetricsServiceRequest::decode(body).map(drop),
    };
    match (decoded(signal, body), oracle) {
        (Ok(decoded), _) if decoded.rejected > 0 => {
            let accepted = decoded.accepted_body.unwrap();
            assert_eq!(OtlpDecoder.decode(signal, &accepted, RECEIVED_NS).unwrap(), decoded.batch);
        }
        (Ok(decoded), Ok(())) => {
            pretty_eq(&canonical(signal, &exported(signal, &decoded.batch)), &canonical(signal, body));
        }
        (Err(error), Ok(())) => panic!("prost takes what we do not: {error}"),
        // What is overwritten later is not looked into.
        (Ok(decoded), Err(_)) if decoded.duplicate_keys > 0 => {}
        (Ok(_), Err(error)) => assert!(error.to_string().contains("UTF-8"), "we take what prost does not: {error}"),
        (Err(_), Err(_)) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_survive(request in generate::traces()) {
        check_round_trip(Signal::Spans, &request.encode_to_vec());
    }

    #[test]
    fn logs_survive(request in generate::logs()) {
        check_round_trip(Signal::Logs, &request.encode_to_vec());
    }

    #[test]
    fn metrics_survive(request in generate::metrics()) {
        check_round_trip(Signal::Metrics, &request.encode_to_vec());
    }

    #[test]
    fn spoiled_spans_go_alone((good, mixed, rejected) in generate::spoiled_traces()) {
        check_rejection(Signal::Spans, &good.encode_to_vec(), &mixed.encode_to_vec(), rejected);
    }

    #[test]
    fn spoiled_points_go_alone((good, mixed, rejected) in generate::spoiled_metrics()) {
        check_rejection(Signal::Metrics, &good.encode_to_vec(), &mixed.encode_to_vec(), rejected);
    }

    #[test]
    fn damaged_spans_are_judged_as_prost_does(request in generate::traces(), damage in generate::damage()) {
        check_agreement(Signal::Spans, &damage.applied(request.encode_to_vec()));
    }

    #[test]
    fn damaged_logs_are_judged_as_prost_does(request in generate::logs(), damage in generate::damage()) {
        check_agreement(Signal::Logs, &damage.applied(request.encode_to_vec()));
    }

    #[test]
    fn damaged_metrics_are_judged_as_prost_does(request in generate::metrics(), damage in generate::damage()) {
        check_agreement(Signal::Metrics, &damage.applied(request.encode_to_vec()));
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        for signal in Signal::ALL {
            check_agreement(signal, &noise);
        }
    }
}
