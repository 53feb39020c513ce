//! A data centre: many kinds of few properties, deep chains, a few hubs, and parallel connections between the same two devices.

pub(super) fn statements() -> Vec<String> {
    let texts = [
        "CREATE CONSTRAINT network_ip IF NOT EXISTS FOR (n:Interface) REQUIRE n.ip IS UNIQUE",
        "CREATE INDEX network_port IF NOT EXISTS FOR (n:Port) ON (n.port)",
        "CREATE INDEX network_version IF NOT EXISTS FOR (n:Version) ON (n.name)",
        "CREATE TEXT INDEX network_process IF NOT EXISTS FOR (n:Process) ON (n.name)",
        "CREATE (dc:DataCenter {name: 'DC1', location: 'Iceland, Rekjavik'})
            CREATE (r:Router:Egress {name: 'DC1-RE', zone: 0}) CREATE (dc)-[:CONTAINS]->(r)
            WITH dc, r UNWIND range(1, 4) AS zone
            CREATE (net:Network:Zone {ip: '10.' + zone, size: 16, zone: zone, `ip range (hex)`: '0x0A0' + zone}) CREATE (net)<-[:ROUTES {cost: zone}]-(r)
            CREATE (sw:Switch {ip: '10.' + zone, rack: zone}) CREATE (dc)-[:CONTAINS]->(sw)
            WITH dc, sw, zone UNWIND range(1, 5) AS rack
            CREATE (dc)-[:CONTAINS]->(k:Rack {name: 'DC1-RCK-' + zone + '-' + rack, zone: zone, rack: rack})-[:HOLDS]->(sw)
            WITH k, zone, rack UNWIND range(1, 30) AS m
            CREATE (k)-[:HOLDS]->(:Machine {id: zone * 100000 + rack * 1000 + m, name: 'DC1-' + zone + '-' + rack + '-' + m, up: m % 7 <> 0,
                cores: [1, 2, 4, 8][m % 4], load: [m / 7.0, m / 11.0], slots: [m % 2 = 0, true]})",
        "MATCH (m:Machine), (sw:Switch) WHERE sw.rack = m.id / 100000
            CREATE (m)-[:ROUTES]->(i:Interface {ip: sw.ip + '.' + (m.id % 100000), hwaddr: 'ab:cd:' + m.id}), (i)-[:CONNECTS]->(sw), (i)-[:CONNECTS]->(sw)
            CREATE (i)-[:EXPOSES]->(:Port {port: 22 + m.id % 3}), (i)-[:LOOPS_BACK]->(i)",
        "UNWIND range(1, 12) AS s CREATE (:Software:OS {name: 'os ' + s}), (:Software:Application {name: 'app ' + s})",
        "MATCH (s:Software) UNWIND range(1, 4) AS v CREATE (s)-[:VERSION]->(w:Version {name: v + '.' + v, `end of life`: date('2026-01-01') + duration({months: v})})
            WITH s, w, v WHERE v > 1 MATCH (s)-[:VERSION]->(p:Version {name: (v - 1) + '.' + (v - 1)}) CREATE (w)-[:PREVIOUS]->(p)",
        "MATCH (m:Machine) MATCH (:OS {name: 'os ' + (1 + m.id % 12)})-[:VERSION]->(v:Version {name: '2.2'}) CREATE (m)-[:RUNS]->(:OS:Process {name: 'init', pid: m.id, startTime: datetime('2026-01-01T00:00:00Z')})-[:INSTANCE]->(v)",
        "MATCH (a:Interface)-[:EXPOSES]->(p:Port) WITH a, p ORDER BY a.ip LIMIT 400 MATCH (b:Interface {ip: '10.1.' + (1001 + p.port % 3)}) CREATE (b)-[:CONNECTS {port: p.port}]->(p)",
    ];
    texts.map(str::to_owned).to_vec()
}
