use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, VersioningConfiguration,
};
use backstay_test_s3::{Bucket, Server};

use crate::client::{B, answer, client, failed, put, server};

#[tokio::test]
async fn a_bucket_is_made_and_goes_when_it_is_empty() {
    let s3 = Server::start();
    let client = client(&s3, s3.keys());
    client.create_bucket().bucket(B).object_lock_enabled_for_bucket(true).send().await.unwrap();
    let again = client.create_bucket().bucket(B).send().await;
    assert_eq!(failed(again), answer(409, "BucketAlreadyOwnedByYou"));
    let head = client.head_bucket().bucket(B).send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("us-east-1"));
    let lock = client.get_object_lock_configuration().bucket(B).send().await.unwrap();
    assert!(lock.object_lock_configuration().unwrap().object_lock_enabled().is_some());
    let id = put(&client, "k", "x").await;
    assert_eq!(failed(client.delete_bucket().bucket(B).send().await), answer(409, "BucketNotEmpty"));
    client.delete_object().bucket(B).key("k").version_id(id).send().await.unwrap();
    client.delete_bucket().bucket(B).send().await.unwrap();
    assert_eq!(failed(client.head_bucket().bucket(B).send().await).0, 404);
}

#[tokio::test]
async fn configuration_is_kept() {
    let (_s3, client) = server(Bucket::unversioned());
    let none = client.get_bucket_lifecycle_configuration().bucket(B).send().await;
    assert_eq!(failed(none), answer(404, "NoSuchLifecycleConfiguration"));
    let rule = LifecycleRule::builder()
        .id("old")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("items/").build())
        .expiration(LifecycleExpiration::builder().expired_object_delete_marker(true).build());
    let rules = BucketLifecycleConfiguration::builder().rules(rule.build().unwrap()).build().unwrap();
    let put = client.put_bucket_lifecycle_configuration().bucket(B).lifecycle_configuration(rules);
    put.send().await.unwrap();
    let kept = client.get_bucket_lifecycle_configuration().bucket(B).send().await.unwrap();
    assert_eq!(kept.rules()[0].filter().unwrap().prefix(), Some("items/"));

    let access = client.get_public_access_block().bucket(B).send().await.unwrap();
    assert_eq!(access.public_access_block_configuration().unwrap().block_public_acls(), Some(true));
    let open = PublicAccessBlockConfiguration::builder().block_public_acls(false).build();
    let put = client.put_public_access_block().bucket(B).public_access_block_configuration(open);
    put.send().await.unwrap();
    client.delete_public_access_block().bucket(B).send().await.unwrap();
    let none = client.get_public_access_block().bucket(B).send().await;
    assert_eq!(failed(none), answer(404, "NoSuchPublicAccessBlockConfiguration"));

    for code in ["NoSuchBucketPolicy", "ReplicationConfigurationNotFoundError"] {
        let found = match code {
            "NoSuchBucketPolicy" => failed(client.get_bucket_policy_status().bucket(B).send().await),
            _ => failed(client.get_bucket_replication().bucket(B).send().await),
        };
        assert_eq!(found, answer(404, code));
    }
    let everyone = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}]}"#;
    client.put_bucket_policy().bucket(B).policy(everyone).send().await.unwrap();
    let status = client.get_bucket_policy_status().bucket(B).send().await.unwrap();
    assert_eq!(status.policy_status().unwrap().is_public(), Some(true));
}

#[tokio::test]
async fn the_default_encryption_is_that_of_new_objects() {
    let (_s3, client) = server(Bucket::unversioned());
    let encryption = || async {
        put(&client, "k", "x").await;
        let head = client.head_object().bucket(B).key("k").send().await.unwrap();
        (head.server_side_encryption.unwrap(), head.ssekms_key_id)
    };
    assert_eq!(encryption().await, (ServerSideEncryption::Aes256, None));
    let default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms);
    let default = default.kms_master_key_id("key-1").build().unwrap();
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
    let config = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
    client.put_bucket_encryption().bucket(B).server_side_encryption_configuration(config).send().await.unwrap();
    assert_eq!(encryption().await, (ServerSideEncryption::AwsKms, Some("key-1".to_owned())));
}

#[tokio::test]
async fn suspended_versions_keep_the_old_ones() {
    let (_s3, client) = server(Bucket::unversioned());
    let set = |status| {
        let config = VersioningConfiguration::builder().status(status).build();
        client.put_bucket_versioning().bucket(B).versioning_configuration(config).send()
    };
    assert_eq!(client.get_bucket_versioning().bucket(B).send().await.unwrap().status(), None);
    put(&client, "k", "before").await;
    set(BucketVersioningStatus::Enabled).await.unwrap();
    let kept = put(&client, "k", "kept").await;
    set(BucketVersioningStatus::Suspended).await.unwrap();
    assert_eq!(put(&client, "k", "after").await, "null");
    let list = client.list_object_versions().bucket(B).send().await.unwrap();
    let ids: Vec<_> = list.versions().iter().filter_map(|version| version.version_id()).collect();
    assert_eq!(ids, ["null", &kept]);
}
