-- A journal as version 1 of the tables and of the events wrote it. It never changes: what is here must open for ever.
-- Together the runs have every type of event: one ended by a power cut, one that went on with it, one refused.
PRAGMA application_id = 0x686d6342;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA user_version = 1;
CREATE TABLE run (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    resumes TEXT
) STRICT;
CREATE INDEX run_resumes ON run (resumes) WHERE resumes IS NOT NULL;
CREATE TABLE event (
    run     INTEGER NOT NULL REFERENCES run (n) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL,
    UNIQUE (run, seq)
) STRICT;
INSERT INTO run VALUES (1, 'a1', NULL), (2, 'b2', 'a1'), (3, 'c3', NULL);
INSERT INTO event VALUES
    (1, 0, 1767344400000, 1, '{"type":"run_started","version":1,"run":"a1","resumes":null,"tool":"0.1.0","cluster":"homelab","playbook":"os","arguments":{"inventory":null,"limit":"pi-*","vars":[["banner","hi"]]},"fingerprint":"f00d","pairs":[{"id":0,"step":"motd","target":{"node":"pi-0"},"kind":"file","waits_for":["tools"],"disruptive":false},{"id":1,"step":"motd","target":{"node":"pi-1"},"kind":"file","waits_for":["tools"],"disruptive":false}]}'),
    (1, 1, 1767344400001, 1, '{"type":"facts_requested","target":{"node":"pi-0"},"round":1,"facts":7}'),
    (1, 2, 1767344400002, 1, '{"type":"facts_read","target":{"node":"pi-0"},"failed":1,"took_ms":20}'),
    (1, 3, 1767344400003, 1, '{"type":"target_unreachable","target":"cluster","failure":{"message":"no","evidence":["E: Unable to locate package ⚓"],"hint":"it''s"}}'),
    (1, 4, 1767344400004, 1, '{"type":"leftover_job","target":"controller","job":"z-0-1","waiting":true}'),
    (1, 5, 1767344400005, 1, '{"type":"locked","targets":[{"node":"pi-0"}]}'),
    (1, 6, 1767344400006, 1, '{"type":"step_decided","pair":0,"diff":[{"side":"old","text":"a"},{"side":"new","text":"b"},{"side":"both","text":"c"}]}'),
    (1, 7, 1767344400007, 1, '{"type":"step_started","pair":0,"attempt":1,"job":"a1-0-1"}'),
    (1, 8, 1767344400008, 1, '{"type":"step_output","pair":0,"text":"\u001b[0mx\n"}'),
    (1, 9, 1767344400009, 1, '{"type":"step_retry","pair":0,"attempt":1,"delay_ms":500,"failure":{"message":"no","evidence":["E: Unable to locate package ⚓"],"hint":"it''s"}}'),
    (1, 10, 1767344400010, 1, '{"type":"step_decided","pair":0,"diff":[{"side":"old","text":"a"},{"side":"new","text":"b"},{"side":"both","text":"c"}]}'),
    (1, 11, 1767344400011, 1, '{"type":"step_started","pair":0,"attempt":2,"job":"a1-0-2"}'),
    (1, 12, 1767344400012, 1, '{"type":"step_finished","pair":0,"outcome":{"failed":{"message":"no","evidence":["E: Unable to locate package ⚓"],"hint":"it''s"}},"took_ms":9}'),
    (1, 13, 1767344400013, 1, '{"type":"step_decided","pair":1,"diff":[{"side":"old","text":"a"},{"side":"new","text":"b"},{"side":"both","text":"c"}]}'),
    (1, 14, 1767344400014, 1, '{"type":"step_started","pair":1,"attempt":1,"job":"a1-1-1"}'),
    (1, 15, 1767344400015, 1, '{"type":"checkpoint","pair":1,"name":"stage","data":{"n":[1,null]}}'),
    (1, 16, 1767344400016, 1, '{"type":"gate_waiting","pair":1,"reason":"not ready"}'),
    (1, 17, 1767344400017, 1, '{"type":"cancel_requested","level":"drain"}'),
    (2, 0, 1767344400100, 1, '{"type":"run_started","version":1,"run":"b2","resumes":"a1","tool":"0.1.0","cluster":"homelab","playbook":"os","arguments":{"inventory":null,"limit":"pi-*","vars":[["banner","hi"]]},"fingerprint":"f00d","pairs":[{"id":0,"step":"motd","target":{"node":"pi-0"},"kind":"file","waits_for":["tools"],"disruptive":false},{"id":1,"step":"motd","target":{"node":"pi-1"},"kind":"file","waits_for":["tools"],"disruptive":false}]}'),
    (2, 1, 1767344400101, 1, '{"type":"locked","targets":[]}'),
    (2, 2, 1767344400102, 1, '{"type":"warning","failure":{"message":"no","evidence":["E: Unable to locate package ⚓"],"hint":"it''s"}}'),
    (2, 3, 1767344400103, 1, '{"type":"step_decided","pair":1,"diff":[{"side":"old","text":"a"},{"side":"new","text":"b"},{"side":"both","text":"c"}]}'),
    (2, 4, 1767344400104, 1, '{"type":"step_started","pair":1,"attempt":1,"job":"b2-1-1"}'),
    (2, 5, 1767344400105, 1, '{"type":"step_finished","pair":1,"outcome":"changed","took_ms":9}'),
    (2, 6, 1767344400106, 1, '{"type":"step_finished","pair":0,"outcome":{"blocked":{"step":"motd","target":{"node":"pi-0"}}},"took_ms":0}'),
    (2, 7, 1767344400107, 1, '{"type":"run_finished","counts":{"blocked":1,"changed":1},"exit":"failed","took_ms":7}'),
    (3, 0, 1767344400200, 1, '{"type":"run_started","version":1,"run":"c3","resumes":null,"tool":"0.1.0","cluster":"homelab","playbook":"os","arguments":{"inventory":null,"limit":"pi-*","vars":[["banner","hi"]]},"fingerprint":"f00d","pairs":[{"id":0,"step":"motd","target":{"node":"pi-0"},"kind":"file","waits_for":["tools"],"disruptive":false},{"id":1,"step":"motd","target":{"node":"pi-1"},"kind":"file","waits_for":["tools"],"disruptive":false}]}'),
    (3, 1, 1767344400201, 1, '{"type":"lock_refused","failure":{"message":"no","evidence":["E: Unable to locate package ⚓"],"hint":"it''s"}}'),
    (3, 2, 1767344400202, 1, '{"type":"run_finished","counts":{},"exit":"locked","took_ms":7}');
