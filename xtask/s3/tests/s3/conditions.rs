use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use backstay_test_s3::Bucket;

use crate::client::{B, answer, failed, get, put, server};

#[tokio::test]
async fn only_the_first_create_wins() {
    let (_s3, client) = server(Bucket::versioned());
    let create = || client.put_object().bucket(B).key("k").if_none_match("*").body(ByteStream::from_static(b"x"));
    create().send().await.unwrap();
    assert_eq!(failed(create().send().await), answer(412, "PreconditionFailed"));
    // A delete marker is as good as nothing.
    client.delete_object().bucket(B).key("k").send().await.unwrap();
    create().send().await.unwrap();
    assert_eq!(failed(create().send().await), answer(412, "PreconditionFailed"));
    let copy = client.copy_object().bucket(B).key("k").copy_source(format!("{B}/k")).if_none_match("*");
    let copy = copy.metadata_directive(aws_sdk_s3::types::MetadataDirective::Replace);
    assert_eq!(failed(copy.send().await), answer(412, "PreconditionFailed"));
}

#[tokio::test]
async fn an_upload_is_a_create_when_it_completes() {
    let (s3, client) = server(Bucket::unversioned());
    let upload = client.create_multipart_upload().bucket(B).key("k").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = client.upload_part().bucket(B).key("k").upload_id(id).part_number(1);
    let part = part.body(ByteStream::from_static(b"whole")).send().await.unwrap();
    let parts = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let complete = client.complete_multipart_upload().bucket(B).key("k").upload_id(id).if_none_match("*");
    let complete = complete.multipart_upload(CompletedMultipartUpload::builder().parts(parts).build());
    put(&client, "k", "there before").await;
    assert_eq!(failed(complete.clone().send().await), answer(412, "PreconditionFailed"));
    assert_eq!(get(&client, "k").await, "there before");
    assert_eq!(s3.uploads_in(B).len(), 1);
    client.delete_object().bucket(B).key("k").send().await.unwrap();
    complete.send().await.unwrap();
    assert_eq!(get(&client, "k").await, "whole");
    assert!(s3.uploads_in(B).is_empty());
}

#[tokio::test]
async fn sixteen_creates_have_one_winner() {
    let (_s3, client) = server(Bucket::unversioned());
    for key in 0..8 {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let put = client.put_object().bucket(B).key(key.to_string()).if_none_match("*");
                tokio::spawn(put.body(format!("{writer}").into_bytes().into()).send())
            })
            .collect();
        let mut won = 0;
        for writer in writers {
            match writer.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.code(), Some("PreconditionFailed")),
            }
        }
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn a_replacement_has_to_know_what_it_replaces() {
    let (_s3, client) = server(Bucket::unversioned());
    let replace = |etag: &str| client.put_object().bucket(B).key("k").if_match(etag);
    assert_eq!(failed(replace("\"x\"").send().await), answer(404, "NoSuchKey"));
    put(&client, "k", "one").await;
    assert_eq!(failed(replace("\"x\"").send().await), answer(412, "PreconditionFailed"));
    let etag = client.head_object().bucket(B).key("k").send().await.unwrap().e_tag.unwrap();
    replace(&etag).send().await.unwrap();
    let delete = client.delete_object().bucket(B).key("k").if_match(&etag).send().await;
    assert_eq!(failed(delete), answer(412, "PreconditionFailed"));
}
