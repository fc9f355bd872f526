//! Against a real Postgres.

use sqlx::AssertSqlSafe;

use super::outbox::BATCH;
use crate::fixture::Fixture;

#[tokio::test]
async fn a_batch_is_read_in_the_order_of_an_index() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.admin.begin().await.unwrap();
    // Of a table that is empty any plan is as good; a sort that cannot be done without stays.
    for setting in ["enable_seqscan", "enable_bitmapscan", "enable_sort"] {
        let sql = format!("SET LOCAL {setting} = off");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap();
    }
    let explain = format!("EXPLAIN (COSTS OFF) {BATCH}");
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .bind("")
        .bind(0_i64)
        .bind(Vec::<String>::new())
        .bind(1000_i64)
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("Merge Append") && !plan.contains("->  Sort"), "{plan}");
}
