use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::{
    DescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use super::*;

fn collect(prefix: &str, message: &DescriptorProto, into: &mut BTreeMap<String, DescriptorProto>) {
    let name = format!("{prefix}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, into);
    }
    into.insert(name, message.clone());
}

fn compare(
    name: &str,
    ours: &'static Message,
    published: &BTreeMap<String, DescriptorProto>,
    seen: &mut Vec<String>,
) {
    if seen.iter().any(|known| known == name) {
        return;
    }
    seen.push(name.to_owned());
    let theirs = published.get(name).unwrap_or_else(|| panic!("{name} is not published"));
    assert!(ours.fields.len() <= 32, "{name} has more fields than the reader can mark");
    assert_eq!(ours.fields.len(), theirs.field.len(), "fields of {name}");
    let oneofs = theirs.field.iter().filter(|field| !field.proto3_optional()).filter_map(|f| f.oneof_index);
    assert!(oneofs.collect::<std::collections::BTreeSet<_>>().len() <= 1, "{name} has several oneofs");
    for field in &theirs.field {
        let number = u32::try_from(field.number()).unwrap();
        let own = ours.field(number).unwrap_or_else(|| panic!("{name}.{} is not in the table", field.name()));
        let label = format!("{name}.{}", field.name());
        assert_eq!(own.name, field.json_name(), "{label}");
        assert_eq!(own.repeated, field.label() == Label::Repeated, "{label}");
        assert_eq!(own.one_of, field.oneof_index.is_some() && !field.proto3_optional(), "{label}");
        let same = match (own.kind, field.r#type()) {
            (Kind::Bool, Type::Bool)
            | (Kind::Double, Type::Double)
            | (Kind::Fixed32, Type::Fixed32)
            | (Kind::Fixed64, Type::Fixed64)
            | (Kind::Sfixed64, Type::Sfixed64)
            | (Kind::Int32, Type::Int32)
            | (Kind::Int64, Type::Int64)
            | (Kind::Sint32, Type::Sint32)
            | (Kind::Uint32, Type::Uint32)
            | (Kind::Uint64, Type::Uint64)
            | (Kind::Enum, Type::Enum)
            | (Kind::Text, Type::String) => true,
            (Kind::Id, Type::Bytes) => field.name().ends_with("_id"),
            (Kind::Bytes, Type::Bytes) => !field.name().ends_with("_id"),
            (Kind::Message(child), Type::Message) => {
                compare(field.type_name(), child, published, seen);
                true
            }
            _ => false,
        };
        assert!(same, "{label}: {:?} is not {:?}", own.kind, field.r#type());
    }
}

#[test]
fn the_table_is_what_opentelemetry_publishes() {
    let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).unwrap();
    let mut published = BTreeMap::new();
    for file in &files.file {
        for message in &file.message_type {
            collect(&format!(".{}", file.package()), message, &mut published);
        }
    }
    let mut seen = Vec::new();
    for (signal, package, message) in [
        (Signal::Metrics, "metrics", "ExportMetricsServiceRequest"),
        (Signal::Traces, "trace", "ExportTraceServiceRequest"),
        (Signal::Logs, "logs", "ExportLogsServiceRequest"),
    ] {
        let name = format!(".opentelemetry.proto.collector.{package}.v1.{message}");
        compare(&name, request(signal), &published, &mut seen);
    }
    assert_eq!(seen.len(), 34, "messages compared: {seen:?}");
}
