//! etcd's messages and calls, generated from `proto/etcd.proto`, and the shorthands for building them.

use bytes::Bytes;

#[allow(
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::str_to_string,
    clippy::use_self,
    clippy::wildcard_imports,
    reason = "generated"
)]
mod generated {
    tonic::include_proto!("etcdserverpb");
}

pub(super) use self::generated::compare::{CompareResult, CompareTarget, TargetUnion};
pub(super) use self::generated::event::EventType;
pub(super) use self::generated::range_request::SortOrder;
pub(super) use self::generated::request_op::Request as Wanted;
pub(super) use self::generated::response_op::Response as Given;
pub(super) use self::generated::watch_request::RequestUnion;
pub(super) use self::generated::{
    AuthenticateRequest, Compare, DeleteRangeRequest, KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest,
    PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, WatchCreateRequest,
    WatchProgressRequest, WatchRequest, WatchResponse,
};
pub(super) use self::generated::{
    auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient, watch_client::WatchClient,
};

/// Reads one key.
pub(super) fn one(key: impl Into<Bytes>) -> RangeRequest {
    RangeRequest {
        key: key.into(),
        ..RangeRequest::default()
    }
}

/// Reads the keys from `from` up to, and without, `end`.
pub(super) fn range(from: impl Into<Bytes>, end: impl Into<Bytes>, limit: i64) -> RangeRequest {
    RangeRequest {
        key: from.into(),
        range_end: end.into(),
        limit,
        ..RangeRequest::default()
    }
}

pub(super) fn get(range: RangeRequest) -> RequestOp {
    RequestOp {
        request: Some(Wanted::RequestRange(range)),
    }
}

pub(super) fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> RequestOp {
    put_leased(key, value, 0)
}

pub(super) fn put_leased(key: impl Into<Bytes>, value: impl Into<Bytes>, lease: i64) -> RequestOp {
    RequestOp {
        request: Some(Wanted::RequestPut(PutRequest {
            key: key.into(),
            value: value.into(),
            lease,
        })),
    }
}

pub(super) fn delete(key: impl Into<Bytes>) -> RequestOp {
    delete_range(key, Bytes::new())
}

/// Deletes the keys from `from` up to, and without, `end`; with no end, `from` alone.
pub(super) fn delete_range(from: impl Into<Bytes>, end: impl Into<Bytes>) -> RequestOp {
    RequestOp {
        request: Some(Wanted::RequestDeleteRange(DeleteRangeRequest {
            key: from.into(),
            range_end: end.into(),
        })),
    }
}

/// Holds if the key has this value.
pub(super) fn is(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Compare {
    compare(
        key,
        Bytes::new(),
        CompareTarget::Value,
        TargetUnion::Value(value.into()),
    )
}

/// Holds if there is no such key.
pub(super) fn absent(key: impl Into<Bytes>) -> Compare {
    none_between(key, Bytes::new())
}

/// Holds if there is no key from `from` up to, and without, `end`.
pub(super) fn none_between(from: impl Into<Bytes>, end: impl Into<Bytes>) -> Compare {
    compare(from, end, CompareTarget::Create, TargetUnion::CreateRevision(0))
}

fn compare(
    key: impl Into<Bytes>,
    range_end: impl Into<Bytes>,
    target: CompareTarget,
    to: TargetUnion,
) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.into(),
        range_end: range_end.into(),
        target_union: Some(to),
    }
}

/// What a transaction that only reads gave for each of its ranges, in their order.
pub(super) fn ranges(answer: TxnResponse) -> impl Iterator<Item = RangeResponse> {
    answer.responses.into_iter().map(|one| match one.response {
        Some(Given::ResponseRange(range)) => range,
        _ => RangeResponse::default(),
    })
}
