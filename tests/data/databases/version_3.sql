BEGIN TRANSACTION;
CREATE TABLE credential (
	object INTEGER NOT NULL, 
	kind VARCHAR(8) NOT NULL, 
	key_id VARCHAR(36) NOT NULL, 
	name VARCHAR, 
	thumbprint VARCHAR, 
	starts_at VARCHAR(27), 
	ends_at VARCHAR(27), 
	generation INTEGER NOT NULL, 
	told_days INTEGER, 
	PRIMARY KEY (object, kind, key_id)
);
INSERT INTO "credential" VALUES(5,'key','00000000-0000-4000-8000-000000000205','CN=payroll','52ED9B5038A47B9E2E2190715CC238359D4F8F73','2026-09-21T14:15:00.000000Z','2027-03-01T00:00:00.000000Z',1,NULL);
INSERT INTO "credential" VALUES(5,'secret','00000000-0000-4000-8000-000000000206',NULL,NULL,'2026-09-21T14:15:00.000000Z','9999-12-31T23:59:59.000000Z',1,NULL);
CREATE TABLE directory_application (
	object INTEGER NOT NULL, 
	app_id VARCHAR, 
	created_at VARCHAR, 
	description VARCHAR, 
	display_name VARCHAR, 
	publisher_domain VARCHAR, 
	sign_in_audience VARCHAR, 
	PRIMARY KEY (object)
);
INSERT INTO "directory_application" VALUES(5,'00000000-0000-4000-8000-000000000105',NULL,NULL,'Payroll',NULL,NULL);
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
INSERT INTO "directory_object" VALUES(5,'7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','00000000-0000-4000-8000-000000000005','applications','active','2026-09-21T14:15:00.000000Z','2026-09-21T14:15:00.000000Z',1,NULL,NULL);
CREATE TABLE directory_service_principal (
	object INTEGER NOT NULL, 
	account_enabled BOOLEAN, 
	app_display_name VARCHAR, 
	app_id VARCHAR, 
	app_owner_organization_id VARCHAR, 
	app_role_assignment_required BOOLEAN, 
	description VARCHAR, 
	display_name VARCHAR, 
	service_principal_type VARCHAR, 
	sign_in_audience VARCHAR, 
	PRIMARY KEY (object)
);
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
INSERT INTO "schema_version" VALUES(3,2,'c380fbc7850649ae8d46362d32974086fa015e7c75fdd18bf4a4f0370babf212');
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
INSERT INTO "sync_stream" VALUES('7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','users','14ebe3efc8208524c67f1d37d1de15c41dc175a893ab1965e01cd8b2c4f1de45',1,0,'https://graph.microsoft.com/v1.0/users/delta?$deltatoken=sample-2',4,7,NULL,'2026-09-21T14:14:22.000000Z','2026-09-21T14:14:22.000000Z',0,0,0,0,0,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "sync_stream" VALUES('7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60','applications','1b8e806116d7728e2251d94e4f988203862332e2cb937495a45f85c4f8ae5207',2,0,'https://graph.microsoft.com/1',2,1,NULL,'2026-09-21T14:15:00.000000Z','2026-09-21T14:15:00.000000Z',0,1,0,0,0,NULL,NULL,0,NULL,NULL,1,NULL);
CREATE INDEX directory_user_employee_id ON directory_user (employee_id);
CREATE INDEX directory_user_mail ON directory_user (lower(mail));
CREATE INDEX directory_user_user_principal_name ON directory_user (lower(user_principal_name));
CREATE UNIQUE INDEX directory_object_id ON directory_object (id, tenant_id);
CREATE INDEX directory_object_stream ON directory_object (stream, tenant_id, generation);
CREATE INDEX edge_dst ON edge (dst, kind, src);
CREATE INDEX directory_group_display_name ON directory_group (lower(display_name));
CREATE INDEX directory_group_mail ON directory_group (lower(mail));
CREATE INDEX credential_ends_at ON credential (ends_at);
CREATE INDEX directory_service_principal_app_id ON directory_service_principal (app_id);
CREATE INDEX directory_service_principal_display_name ON directory_service_principal (lower(display_name));
CREATE INDEX directory_application_app_id ON directory_application (app_id);
CREATE INDEX directory_application_display_name ON directory_application (lower(display_name));
CREATE VIEW active_users AS SELECT directory_object.tenant_id, directory_object.id, directory_object.changed_at, directory_object.state_changed_at, directory_user.account_enabled, directory_user.created_at, directory_user.department, directory_user.display_name, directory_user.employee_id, directory_user.given_name, directory_user.job_title, directory_user.mail, directory_user.office_location, directory_user.surname, directory_user.user_principal_name, directory_user.user_type 
FROM directory_user JOIN directory_object ON directory_user.object = directory_object.object 
WHERE directory_object.state = 'active' AND directory_user.account_enabled IS NOT 0;
CREATE VIEW active_groups AS SELECT directory_object.tenant_id, directory_object.id, directory_object.changed_at, directory_object.state_changed_at, directory_group.created_at, directory_group.description, directory_group.display_name, directory_group.mail, directory_group.mail_enabled, directory_group.security_enabled, directory_group.visibility 
FROM directory_group JOIN directory_object ON directory_group.object = directory_object.object 
WHERE directory_object.state = 'active';
CREATE VIEW active_service_principals AS SELECT directory_object.tenant_id, directory_object.id, directory_object.changed_at, directory_object.state_changed_at, directory_service_principal.account_enabled, directory_service_principal.app_display_name, directory_service_principal.app_id, directory_service_principal.app_owner_organization_id, directory_service_principal.app_role_assignment_required, directory_service_principal.description, directory_service_principal.display_name, directory_service_principal.service_principal_type, directory_service_principal.sign_in_audience 
FROM directory_service_principal JOIN directory_object ON directory_service_principal.object = directory_object.object 
WHERE directory_object.state = 'active' AND directory_service_principal.account_enabled IS NOT 0;
CREATE VIEW active_applications AS SELECT directory_object.tenant_id, directory_object.id, directory_object.changed_at, directory_object.state_changed_at, directory_application.app_id, directory_application.created_at, directory_application.description, directory_application.display_name, directory_application.publisher_domain, directory_application.sign_in_audience 
FROM directory_application JOIN directory_object ON directory_application.object = directory_object.object 
WHERE directory_object.state = 'active';
CREATE VIEW group_members AS SELECT directory_group_object.tenant_id, directory_group_object.id AS group_id, member.id AS member_id, member.stream AS member_stream 
FROM edge JOIN directory_object AS directory_group_object ON directory_group_object.object = edge.src JOIN directory_object AS member ON member.object = edge.dst 
WHERE edge.kind = 'member' AND directory_group_object.state = 'active' AND member.state IN ('active', 'stub');
CREATE VIEW expiring_credentials AS SELECT directory_object.tenant_id, directory_object.stream, directory_object.id, directory_service_principal.app_id, directory_service_principal.display_name, credential.kind, credential.key_id, credential.name, credential.thumbprint, credential.starts_at, credential.ends_at 
FROM credential JOIN directory_object ON directory_object.object = credential.object JOIN directory_service_principal ON directory_service_principal.object = credential.object 
WHERE directory_object.state = 'active' AND directory_service_principal.account_enabled IS NOT 0 UNION ALL SELECT directory_object.tenant_id, directory_object.stream, directory_object.id, directory_application.app_id, directory_application.display_name, credential.kind, credential.key_id, credential.name, credential.thumbprint, credential.starts_at, credential.ends_at 
FROM credential JOIN directory_object ON directory_object.object = credential.object JOIN directory_application ON directory_application.object = credential.object 
WHERE directory_object.state = 'active';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('directory_object',5);
COMMIT;
