//! Customers, orders and products: each customer has a key of text, each product one that is a number, lines none.

pub(super) fn statements() -> Vec<String> {
    let texts = [
        "CREATE CONSTRAINT shop_customer IF NOT EXISTS FOR (n:Customer) REQUIRE n.customerID IS UNIQUE",
        "CREATE CONSTRAINT shop_product IF NOT EXISTS FOR (n:Product) REQUIRE n.productID IS UNIQUE",
        "CREATE INDEX shop_changed IF NOT EXISTS FOR (n:Order) ON (n.changed)",
        "UNWIND range(1, 8) AS i CREATE (:Category {name: 'category ' + i, picture: 'a\\\\b\"c', rank: i * 0.1})",
        "UNWIND range(1, 300) AS i CREATE (p:Product {productID: i, name: 'product ' + i, unitPrice: i * 1.25,
            secret: 'margin ' + i, embedding: [i * 0.5, i * 0.25, 1.0]})
            WITH p, i MATCH (c:Category {name: 'category ' + (1 + i % 8)}) CREATE (p)-[:IN_CATEGORY]->(c)",
        "UNWIND range(1, 200) AS i CREATE (:Customer {customerID: 'C' + i, company: 'company ' + i, Fax: '+49 ' + i,
            point: point({latitude: i % 90, longitude: i % 180}), since: localdatetime('2020-01-01T00:00:00')})",
        "UNWIND range(1, 1000) AS i MATCH (c:Customer {customerID: 'C' + (1 + i % 200)})
            CREATE (c)-[:PLACED]->(:Order {orderID: i, changed: datetime('2026-01-01T00:00:00Z'), freight: i / 3.0})",
        "MATCH (o:Order) UNWIND range(0, 7) AS line MATCH (p:Product {productID: 1 + (o.orderID * 7 + line * 13) % 300})
            CREATE (o)-[:CONTAINS {quantity: line + 1, unitPrice: p.unitPrice, discount: 0.05}]->(p)",
    ];
    texts.map(str::to_owned).to_vec()
}
