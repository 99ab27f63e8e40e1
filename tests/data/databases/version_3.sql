BEGIN TRANSACTION;
CREATE TABLE directory_group (
	object INTEGER NOT NULL, 
	created_at VARCHAR, 
	description VARCHAR, 
	display_name VARCHAR, 
	mail VARCHAR, 
	mail_enabled BOOLEAN, 
	security_enabled BOOLEAN, 
	visibility VARCHAR, 
	PRIMARY KEY (object)
);
CREATE TABLE directory_object (
    object INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant_id VARCHAR(36) NOT NULL,
    id VARCHAR(36) NOT NULL,
    stream VARCHAR(32) NOT NULL,
    state VARCHAR(8) NOT NULL,
    state_changed_at VARCHAR(27) NOT NULL,
    changed_at VARCHAR(27) NOT NULL,
    generation INTEGER NOT NULL,
    removed_as VARCHAR(8),
    left_out VARCHAR
);
INSERT INTO "directory_object" VALUES(1,'7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','00000000-0000-4000-8000-000000000001','users','active','2026-09-21T14:13:21.000000Z','2026-09-21T14:13:21.000000Z',1,NULL,NULL);
INSERT INTO "directory_object" VALUES(2,'7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','00000000-0000-4000-8000-000000000002','users','active','2026-09-21T14:13:21.000000Z','2026-09-21T14:13:21.000000Z',1,NULL,NULL);
INSERT INTO "directory_object" VALUES(3,'7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','00000000-0000-4000-8000-000000000003','users','active','2026-09-21T14:13:22.000000Z','2026-09-21T14:13:22.000000Z',1,NULL,NULL);
INSERT INTO "directory_object" VALUES(4,'7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','00000000-0000-4000-8000-000000000004','users','deleted','2026-09-21T14:13:22.000000Z','2026-09-21T14:13:22.000000Z',1,NULL,NULL);
CREATE TABLE directory_user (
	object INTEGER NOT NULL, 
	account_enabled BOOLEAN, 
	created_at VARCHAR, 
	department VARCHAR, 
	display_name VARCHAR, 
	employee_id VARCHAR, 
	given_name VARCHAR, 
	job_title VARCHAR, 
	mail VARCHAR, 
	office_location VARCHAR, 
	surname VARCHAR, 
	user_principal_name VARCHAR, 
	user_type VARCHAR, 
	PRIMARY KEY (object)
);
INSERT INTO "directory_user" VALUES(1,1,'2024-02-29T08:00:00Z','Research','Ann O''Hara','1001','Ann','Chemist','Ann.OHara@contoso.example','2/14','O''Hara','ann@contoso.example','Member');
INSERT INTO "directory_user" VALUES(2,0,NULL,NULL,'Ben',NULL,NULL,NULL,NULL,NULL,NULL,'ben@contoso.example',NULL);
INSERT INTO "directory_user" VALUES(3,NULL,NULL,NULL,'Zoë 林',NULL,NULL,NULL,NULL,NULL,NULL,'zoe@contoso.example','Guest');
INSERT INTO "directory_user" VALUES(4,1,NULL,NULL,'Dan',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE edge (
	kind VARCHAR(8) NOT NULL, 
	src INTEGER NOT NULL, 
	dst INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	PRIMARY KEY (kind, src, dst)
)
 WITHOUT ROWID

;
CREATE TABLE schema_version (
	number INTEGER NOT NULL, 
	writable_by INTEGER NOT NULL, 
	declaration VARCHAR(64) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "schema_version" VALUES(3,2,'a4df65ea3d9ae212518f5c5158551776b2b7b43d5221352ed4fcc2183ba19b9b');
CREATE TABLE sync_stream (
    tenant_id VARCHAR(36) NOT NULL,
    stream VARCHAR(32) NOT NULL,
    fingerprint VARCHAR(64),
    generation INTEGER NOT NULL,
    is_copying BOOLEAN NOT NULL,
    link VARCHAR,
    page INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    lease_until VARCHAR(27),
    complete_at VARCHAR(27),
    bin_judged_at VARCHAR(27),
    objects INTEGER NOT NULL,
    most_objects INTEGER NOT NULL,
    restarts INTEGER NOT NULL,
    idle_pages INTEGER NOT NULL,
    empty_pages INTEGER NOT NULL,
    refused_at VARCHAR(27),
    retry_at VARCHAR(27), failures INTEGER DEFAULT '0' NOT NULL, again_at VARCHAR(27), error VARCHAR, copied INTEGER, held VARCHAR,
    PRIMARY KEY (tenant_id, stream)
);
INSERT INTO "sync_stream" VALUES('7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','users','e2fbdfdefae4dfb862f6b090b135d43710f2b61d644873f8be66767889e0a8d4',1,0,'https://graph.microsoft.com/v1.0/users/delta?$deltatoken=sample-2',4,7,NULL,'2026-09-21T14:14:22.000000Z','2026-09-21T14:14:22.000000Z',0,0,0,0,0,NULL,NULL,0,NULL,NULL,NULL,NULL);
CREATE INDEX directory_user_employee_id ON directory_user (employee_id);
CREATE INDEX directory_user_mail ON directory_user (lower(mail));
CREATE INDEX directory_user_user_principal_name ON directory_user (lower(user_principal_name));
CREATE UNIQUE INDEX directory_object_id ON directory_object (id, tenant_id);
CREATE INDEX directory_object_stream ON directory_object (stream, tenant_id, generation);
CREATE INDEX edge_dst ON edge (dst, kind, src);
CREATE INDEX directory_group_display_name ON directory_group (lower(display_name));
CREATE INDEX directory_group_mail ON directory_group (lower(mail));
CREATE VIEW active_users AS SELECT directory_object.tenant_id, directory_object.id, directory_object.changed_at, directory_object.state_changed_at, directory_user.account_enabled, directory_user.created_at, directory_user.department, directory_user.display_name, directory_user.employee_id, directory_user.given_name, directory_user.job_title, directory_user.mail, directory_user.office_location, directory_user.surname, directory_user.user_principal_name, directory_user.user_type 
FROM directory_user JOIN directory_object ON directory_user.object = directory_object.object 
WHERE directory_object.state = 'active' AND directory_user.account_enabled IS NOT 0;
CREATE VIEW active_groups AS SELECT directory_object.tenant_id, directory_object.id, directory_object.changed_at, directory_object.state_changed_at, directory_group.created_at, directory_group.description, directory_group.display_name, directory_group.mail, directory_group.mail_enabled, directory_group.security_enabled, directory_group.visibility 
FROM directory_group JOIN directory_object ON directory_group.object = directory_object.object 
WHERE directory_object.state = 'active';
CREATE VIEW group_members AS SELECT directory_group_object.tenant_id, directory_group_object.id AS group_id, member.id AS member_id, member.stream AS member_stream 
FROM edge JOIN directory_object AS directory_group_object ON directory_group_object.object = edge.src JOIN directory_object AS member ON member.object = edge.dst 
WHERE edge.kind = 'member' AND directory_group_object.state = 'active' AND member.state IN ('active', 'stub');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('directory_object',4);
COMMIT;
