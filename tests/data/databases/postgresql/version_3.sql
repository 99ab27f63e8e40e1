CREATE TABLE public.directory_application (
    object bigint NOT NULL,
    app_id character varying,
    created_at character varying,
    description character varying,
    display_name character varying,
    publisher_domain character varying,
    sign_in_audience character varying
);
CREATE TABLE public.directory_object (
    object bigint NOT NULL,
    tenant_id character varying(36) NOT NULL,
    id character varying(36) NOT NULL,
    stream character varying(32) NOT NULL,
    state character varying(8) NOT NULL,
    state_changed_at timestamp with time zone NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    generation integer NOT NULL,
    removed_as character varying(8),
    left_out character varying
);
CREATE VIEW public.active_applications AS
 SELECT directory_object.tenant_id,
    directory_object.id,
    directory_object.changed_at,
    directory_object.state_changed_at,
    directory_application.app_id,
    directory_application.created_at,
    directory_application.description,
    directory_application.display_name,
    directory_application.publisher_domain,
    directory_application.sign_in_audience
   FROM (public.directory_application
     JOIN public.directory_object ON ((directory_application.object = directory_object.object)))
  WHERE ((directory_object.state)::text = 'active'::text);
CREATE TABLE public.directory_group (
    object bigint NOT NULL,
    created_at character varying,
    description character varying,
    display_name character varying,
    mail character varying,
    mail_enabled boolean,
    security_enabled boolean,
    visibility character varying
);
CREATE VIEW public.active_groups AS
 SELECT directory_object.tenant_id,
    directory_object.id,
    directory_object.changed_at,
    directory_object.state_changed_at,
    directory_group.created_at,
    directory_group.description,
    directory_group.display_name,
    directory_group.mail,
    directory_group.mail_enabled,
    directory_group.security_enabled,
    directory_group.visibility
   FROM (public.directory_group
     JOIN public.directory_object ON ((directory_group.object = directory_object.object)))
  WHERE ((directory_object.state)::text = 'active'::text);
CREATE TABLE public.directory_service_principal (
    object bigint NOT NULL,
    account_enabled boolean,
    app_display_name character varying,
    app_id character varying,
    app_owner_organization_id character varying,
    app_role_assignment_required boolean,
    description character varying,
    display_name character varying,
    service_principal_type character varying,
    sign_in_audience character varying
);
CREATE VIEW public.active_service_principals AS
 SELECT directory_object.tenant_id,
    directory_object.id,
    directory_object.changed_at,
    directory_object.state_changed_at,
    directory_service_principal.account_enabled,
    directory_service_principal.app_display_name,
    directory_service_principal.app_id,
    directory_service_principal.app_owner_organization_id,
    directory_service_principal.app_role_assignment_required,
    directory_service_principal.description,
    directory_service_principal.display_name,
    directory_service_principal.service_principal_type,
    directory_service_principal.sign_in_audience
   FROM (public.directory_service_principal
     JOIN public.directory_object ON ((directory_service_principal.object = directory_object.object)))
  WHERE (((directory_object.state)::text = 'active'::text) AND (directory_service_principal.account_enabled IS NOT FALSE));
CREATE TABLE public.directory_user (
    object bigint NOT NULL,
    account_enabled boolean,
    created_at character varying,
    department character varying,
    display_name character varying,
    employee_id character varying,
    given_name character varying,
    job_title character varying,
    mail character varying,
    office_location character varying,
    surname character varying,
    user_principal_name character varying,
    user_type character varying
);
CREATE VIEW public.active_users AS
 SELECT directory_object.tenant_id,
    directory_object.id,
    directory_object.changed_at,
    directory_object.state_changed_at,
    directory_user.account_enabled,
    directory_user.created_at,
    directory_user.department,
    directory_user.display_name,
    directory_user.employee_id,
    directory_user.given_name,
    directory_user.job_title,
    directory_user.mail,
    directory_user.office_location,
    directory_user.surname,
    directory_user.user_principal_name,
    directory_user.user_type
   FROM (public.directory_user
     JOIN public.directory_object ON ((directory_user.object = directory_object.object)))
  WHERE (((directory_object.state)::text = 'active'::text) AND (directory_user.account_enabled IS NOT FALSE));
CREATE TABLE public.credential (
    object bigint NOT NULL,
    kind character varying(8) NOT NULL,
    key_id character varying(36) NOT NULL,
    name character varying,
    thumbprint character varying,
    starts_at timestamp with time zone,
    ends_at timestamp with time zone,
    generation integer NOT NULL,
    told_days integer
);
ALTER TABLE public.directory_object ALTER COLUMN object ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.directory_object_object_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.edge (
    kind character varying(8) NOT NULL,
    src bigint NOT NULL,
    dst bigint NOT NULL,
    generation integer NOT NULL
);
CREATE VIEW public.expiring_credentials AS
 SELECT directory_object.tenant_id,
    directory_object.stream,
    directory_object.id,
    directory_service_principal.app_id,
    directory_service_principal.display_name,
    credential.kind,
    credential.key_id,
    credential.name,
    credential.thumbprint,
    credential.starts_at,
    credential.ends_at
   FROM ((public.credential
     JOIN public.directory_object ON ((directory_object.object = credential.object)))
     JOIN public.directory_service_principal ON ((directory_service_principal.object = credential.object)))
  WHERE (((directory_object.state)::text = 'active'::text) AND (directory_service_principal.account_enabled IS NOT FALSE))
UNION ALL
 SELECT directory_object.tenant_id,
    directory_object.stream,
    directory_object.id,
    directory_application.app_id,
    directory_application.display_name,
    credential.kind,
    credential.key_id,
    credential.name,
    credential.thumbprint,
    credential.starts_at,
    credential.ends_at
   FROM ((public.credential
     JOIN public.directory_object ON ((directory_object.object = credential.object)))
     JOIN public.directory_application ON ((directory_application.object = credential.object)))
  WHERE ((directory_object.state)::text = 'active'::text);
CREATE VIEW public.group_members AS
 SELECT directory_group_object.tenant_id,
    directory_group_object.id AS group_id,
    member.id AS member_id,
    member.stream AS member_stream
   FROM ((public.edge
     JOIN public.directory_object directory_group_object ON ((directory_group_object.object = edge.src)))
     JOIN public.directory_object member ON ((member.object = edge.dst)))
  WHERE (((edge.kind)::text = 'member'::text) AND ((directory_group_object.state)::text = 'active'::text) AND (member.state IN ('active', 'stub')));
CREATE TABLE public.schema_version (
    number integer NOT NULL,
    writable_by integer NOT NULL,
    declaration character varying(64) NOT NULL
);
CREATE TABLE public.sync_stream (
    tenant_id character varying(36) NOT NULL,
    stream character varying(32) NOT NULL,
    fingerprint character varying(64),
    generation integer NOT NULL,
    is_copying boolean NOT NULL,
    link character varying,
    page integer NOT NULL,
    fence integer NOT NULL,
    lease_until timestamp with time zone,
    complete_at timestamp with time zone,
    bin_judged_at timestamp with time zone,
    objects integer NOT NULL,
    most_objects integer NOT NULL,
    restarts integer NOT NULL,
    idle_pages integer NOT NULL,
    empty_pages integer NOT NULL,
    refused_at timestamp with time zone,
    retry_at timestamp with time zone,
    failures integer DEFAULT 0 NOT NULL,
    again_at timestamp with time zone,
    error character varying,
    copied integer,
    held character varying
);
INSERT INTO public.credential VALUES (5, 'key', '00000000-0000-4000-8000-000000000205', 'CN=payroll', '52ED9B5038A47B9E2E2190715CC238359D4F8F73', '2026-09-21 14:15:00+00', '2027-03-01 00:00:00+00', 1, NULL);
INSERT INTO public.credential VALUES (5, 'secret', '00000000-0000-4000-8000-000000000206', NULL, NULL, '2026-09-21 14:15:00+00', '9999-12-31 23:59:59+00', 1, NULL);
INSERT INTO public.directory_application VALUES (5, '00000000-0000-4000-8000-000000000105', NULL, NULL, 'Payroll', NULL, NULL);
INSERT INTO public.directory_object VALUES (1, '7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60', '00000000-0000-4000-8000-000000000001', 'users', 'active', '2026-09-21 14:13:21+00', '2026-09-21 14:13:21+00', 1, NULL, NULL);
INSERT INTO public.directory_object VALUES (2, '7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60', '00000000-0000-4000-8000-000000000002', 'users', 'active', '2026-09-21 14:13:21+00', '2026-09-21 14:13:21+00', 1, NULL, NULL);
INSERT INTO public.directory_object VALUES (3, '7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60', '00000000-0000-4000-8000-000000000003', 'users', 'active', '2026-09-21 14:13:22+00', '2026-09-21 14:13:22+00', 1, NULL, NULL);
INSERT INTO public.directory_object VALUES (4, '7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60', '00000000-0000-4000-8000-000000000004', 'users', 'deleted', '2026-09-21 14:13:22+00', '2026-09-21 14:13:22+00', 1, NULL, NULL);
INSERT INTO public.directory_object VALUES (5, '7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60', '00000000-0000-4000-8000-000000000005', 'applications', 'active', '2026-09-21 14:15:00+00', '2026-09-21 14:15:00+00', 1, NULL, NULL);
INSERT INTO public.directory_user VALUES (1, true, '2024-02-29T08:00:00Z', 'Research', 'Ann O''Hara', '1001', 'Ann', 'Chemist', 'Ann.OHara@contoso.example', '2/14', 'O''Hara', 'ann@contoso.example', 'Member');
INSERT INTO public.directory_user VALUES (2, false, NULL, NULL, 'Ben', NULL, NULL, NULL, NULL, NULL, NULL, 'ben@contoso.example', NULL);
INSERT INTO public.directory_user VALUES (3, NULL, NULL, NULL, 'Zoë 林', NULL, NULL, NULL, NULL, NULL, NULL, 'zoe@contoso.example', 'Guest');
INSERT INTO public.directory_user VALUES (4, true, NULL, NULL, 'Dan', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.schema_version VALUES (3, 2, '1c7b3e4f0cd122fa8c26447b6edfa965778a79f236c9aedf6329e6cfcb2f833c');
INSERT INTO public.sync_stream VALUES ('7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60', 'users', '14ebe3efc8208524c67f1d37d1de15c41dc175a893ab1965e01cd8b2c4f1de45', 1, false, 'https://graph.microsoft.com/v1.0/users/delta?$deltatoken=sample-2', 4, 7, NULL, '2026-09-21 14:14:22+00', '2026-09-21 14:14:22+00', 0, 0, 0, 0, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL);
INSERT INTO public.sync_stream VALUES ('7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60', 'applications', '1b8e806116d7728e2251d94e4f988203862332e2cb937495a45f85c4f8ae5207', 2, false, 'https://graph.microsoft.com/1', 2, 1, NULL, '2026-09-21 14:15:00+00', '2026-09-21 14:15:00+00', 0, 1, 0, 0, 0, NULL, NULL, 0, NULL, NULL, 1, NULL);
SELECT pg_catalog.setval('public.directory_object_object_seq', 5, true);
ALTER TABLE ONLY public.credential
    ADD CONSTRAINT credential_pkey PRIMARY KEY (object, kind, key_id);
ALTER TABLE ONLY public.directory_application
    ADD CONSTRAINT directory_application_pkey PRIMARY KEY (object);
ALTER TABLE ONLY public.directory_group
    ADD CONSTRAINT directory_group_pkey PRIMARY KEY (object);
ALTER TABLE ONLY public.directory_object
    ADD CONSTRAINT directory_object_pkey PRIMARY KEY (object);
ALTER TABLE ONLY public.directory_service_principal
    ADD CONSTRAINT directory_service_principal_pkey PRIMARY KEY (object);
ALTER TABLE ONLY public.directory_user
    ADD CONSTRAINT directory_user_pkey PRIMARY KEY (object);
ALTER TABLE ONLY public.edge
    ADD CONSTRAINT edge_pkey PRIMARY KEY (kind, src, dst);
ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.sync_stream
    ADD CONSTRAINT sync_stream_pkey PRIMARY KEY (tenant_id, stream);
CREATE INDEX credential_ends_at ON public.credential USING btree (ends_at);
CREATE INDEX directory_application_app_id ON public.directory_application USING btree (app_id);
CREATE INDEX directory_application_display_name ON public.directory_application USING btree (lower((display_name)::text));
CREATE INDEX directory_group_display_name ON public.directory_group USING btree (lower((display_name)::text));
CREATE INDEX directory_group_mail ON public.directory_group USING btree (lower((mail)::text));
CREATE UNIQUE INDEX directory_object_id ON public.directory_object USING btree (id, tenant_id);
CREATE INDEX directory_object_stream ON public.directory_object USING btree (stream, tenant_id, generation);
CREATE INDEX directory_service_principal_app_id ON public.directory_service_principal USING btree (app_id);
CREATE INDEX directory_service_principal_display_name ON public.directory_service_principal USING btree (lower((display_name)::text));
CREATE INDEX directory_user_employee_id ON public.directory_user USING btree (employee_id);
CREATE INDEX directory_user_mail ON public.directory_user USING btree (lower((mail)::text));
CREATE INDEX directory_user_user_principal_name ON public.directory_user USING btree (lower((user_principal_name)::text));
CREATE INDEX edge_dst ON public.edge USING btree (dst, kind, src);
