BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE bindings (
	name TEXT NOT NULL, 
	bound TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "bindings" VALUES('funnel:продажи','0');
INSERT INTO "bindings" VALUES('stage:0/новая заявка','NEW');
INSERT INTO "bindings" VALUES('stage:0/презентация','PREPARATION');
INSERT INTO "bindings" VALUES('stage:0/отгрузка','FINAL_INVOICE');
INSERT INTO "bindings" VALUES('user:1','1');
INSERT INTO "bindings" VALUES('user:3','3');
INSERT INTO "bindings" VALUES('field:title','TITLE');
INSERT INTO "bindings" VALUES('user:5','5');
INSERT INTO "bindings" VALUES('user:7','7');
INSERT INTO "bindings" VALUES('field:uf_crm_ship_date','UF_CRM_SHIP_DATE');
CREATE TABLE deals (
	id INTEGER NOT NULL, 
	title TEXT NOT NULL, 
	funnel_id BIGINT NOT NULL, 
	stage_id TEXT NOT NULL, 
	semantic TEXT NOT NULL, 
	responsible_id BIGINT NOT NULL, 
	creator_id BIGINT NOT NULL, 
	company_id BIGINT NOT NULL, 
	contact_id BIGINT NOT NULL, 
	created BIGINT NOT NULL, 
	changed BIGINT NOT NULL, 
	moved_by BIGINT NOT NULL, 
	fields TEXT NOT NULL, 
	wake_at BIGINT, 
	gone BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "deals" VALUES(1,'Холодильные витрины',0,'FINAL_INVOICE','P',9,9,11,11,1769003220000000,1772200020000000,9,'{"TITLE":"Холодильные витрины","UF_CRM_SHIP_DATE":"2026-03-09T10:00:00+03:00"}',NULL,0);
INSERT INTO "deals" VALUES(5,'Тепловые завесы',0,'EXECUTING','P',25,25,9,9,1769865000000000,1771593000000000,25,'{"TITLE":"Тепловые завесы","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(9,'Офисная бумага, год',0,'PREPAYMENT_INVOICE','P',5,5,5,5,1770292560000000,1770378960000000,5,'{"TITLE":"Офисная бумага, год","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(11,'Партия мониторов',0,'PREPAYMENT_INVOICE','P',9,9,3,3,1770722340000000,1771931940000000,9,'{"TITLE":"Партия мониторов","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(13,'Кассовое оборудование',0,'EXECUTING','P',7,7,7,7,1770899580000000,1772281980000000,7,'{"TITLE":"Кассовое оборудование","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(15,'Серверное оборудование',0,'UC_OFFER1','P',11,11,1,1,1771152120000000,1772275320000000,11,'{"TITLE":"Серверное оборудование","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(17,'Освещение цеха',0,'UC_OFFER1','P',7,7,11,11,1771409100000000,1772013900000000,7,'{"TITLE":"Освещение цеха","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(19,'Видеонаблюдение',0,'PREPARATION','P',9,9,9,9,1771666080000000,1772184480000000,9,'{"TITLE":"Видеонаблюдение","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(21,'Замена компрессора',5,'C5:UC_REPAIR','P',23,23,7,7,1771751700000000,1772356500000000,23,'{"TITLE":"Замена компрессора","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(23,'Складская техника',0,'PREPARATION','P',5,5,7,7,1771923060000000,1772095860000000,5,'{"TITLE":"Складская техника","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(25,'Ремонт погрузчика',5,'C5:PREPARATION','P',21,21,5,5,1772095080000000,1772267880000000,21,'{"TITLE":"Ремонт погрузчика","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(27,'Мебель для переговорной',0,'NEW','P',11,11,5,5,1772352840000000,1772352840000000,11,'{"TITLE":"Мебель для переговорной","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(29,'Кондиционеры для офиса',0,'NEW','P',7,7,3,3,1772401680000000,1772401680000000,7,'{"TITLE":"Кондиционеры для офиса","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(31,'Поставка стеллажей',0,'NEW','P',5,5,1,1,1772418960000000,1772418960000000,5,'{"TITLE":"Поставка стеллажей","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(33,'Ромашка',0,'PREPARATION','P',5,5,0,0,1772427660000000,1772445600000000,5,'{"TITLE":"Ромашка","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(35,'It''s "Vector"',0,'WON','S',7,5,0,0,1772427660000000,1772518500000000,7,'{"TITLE":"It''s \"Vector\"","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(37,'Груз',0,'FINAL_INVOICE','P',5,5,0,0,1772427660000000,1772445600000000,5,'{"TITLE":"Груз","UF_CRM_SHIP_DATE":"2026-03-12T15:00:00+03:00"}',NULL,0);
INSERT INTO "deals" VALUES(39,'Many 0',0,'NEW','P',5,5,0,0,1772518500000000,1772518500000000,5,'{"TITLE":"Many 0","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(41,'Many 1',0,'NEW','P',5,5,0,0,1772518500000000,1772518500000000,5,'{"TITLE":"Many 1","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(43,'Many 2',0,'NEW','P',5,5,0,0,1772518500000000,1772518500000000,5,'{"TITLE":"Many 2","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(45,'Many 3',0,'NEW','P',5,5,0,0,1772518500000000,1772518500000000,5,'{"TITLE":"Many 3","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(47,'Many 4',0,'NEW','P',5,5,0,0,1772518500000000,1772518500000000,5,'{"TITLE":"Many 4","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(49,'Many 5',0,'NEW','P',5,5,0,0,1772518500000000,1772518500000000,5,'{"TITLE":"Many 5","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(51,'Unknown',0,'NEW','P',5,5,0,0,1772522100000000,1772522100000000,5,'{"TITLE":"Unknown","UF_CRM_SHIP_DATE":null}',NULL,0);
INSERT INTO "deals" VALUES(53,'Paused',0,'NEW','P',5,5,0,0,1772522100000000,1772522100000000,5,'{"TITLE":"Paused","UF_CRM_SHIP_DATE":null}',NULL,0);
CREATE TABLE moments (
	visit_id BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	deal_id BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	PRIMARY KEY (visit_id, name)
);
INSERT INTO "moments" VALUES(81,'seen',33,1772427660000003);
INSERT INTO "moments" VALUES(83,'seen',35,1772427660000003);
INSERT INTO "moments" VALUES(85,'seen',37,1772427660000003);
INSERT INTO "moments" VALUES(81,'left',33,1772445600500000);
INSERT INTO "moments" VALUES(87,'seen',33,1772445600500000);
INSERT INTO "moments" VALUES(89,'seen',39,1772518500500000);
INSERT INTO "moments" VALUES(91,'seen',41,1772518500500000);
INSERT INTO "moments" VALUES(93,'seen',43,1772518500500000);
INSERT INTO "moments" VALUES(95,'seen',45,1772518500500000);
INSERT INTO "moments" VALUES(97,'seen',47,1772518500500000);
INSERT INTO "moments" VALUES(99,'seen',49,1772518500500000);
INSERT INTO "moments" VALUES(83,'left',35,1772522100500000);
INSERT INTO "moments" VALUES(101,'closed',35,1772522100500000);
INSERT INTO "moments" VALUES(101,'seen',35,1772522100500000);
INSERT INTO "moments" VALUES(103,'seen',51,1772522100500000);
INSERT INTO "moments" VALUES(105,'seen',53,1772522100500000);
CREATE TABLE operations (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	deal_id BIGINT NOT NULL, 
	task TEXT NOT NULL, 
	task_row BIGINT, 
	urgency INTEGER NOT NULL, 
	look_first BOOLEAN NOT NULL, 
	not_before BIGINT, 
	sweep TEXT NOT NULL, 
	state TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	epoch BIGINT, 
	result BIGINT, 
	error_code TEXT NOT NULL, 
	error_text TEXT NOT NULL, 
	created BIGINT NOT NULL, 
	sent BIGINT, 
	noticed BIGINT, 
	ended BIGINT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(task_row) REFERENCES tasks (id), 
	UNIQUE ("key")
);
INSERT INTO "operations" VALUES(1,'create:81:call','task.create','{"fields":{"TITLE":"Позвонить: Ромашка","RESPONSIBLE_ID":5,"DEADLINE":"2026-03-02T11:00:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',33,'81:call',1,10,0,NULL,'','done',1,1,27,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(2,'checklist:81:call','task.checklist','{"title":"Чек-лист","index":0}',33,'81:call',1,40,0,NULL,'','done',1,1,402,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(3,'item:81:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:81:call"}',33,'81:call',1,40,0,NULL,'','done',1,1,406,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(4,'item:81:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:81:call"}',33,'81:call',1,40,0,NULL,'','done',1,1,408,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(5,'create:83:call','task.create','{"fields":{"TITLE":"Позвонить: It''s \"Vector\"","RESPONSIBLE_ID":7,"DEADLINE":"2026-03-02T11:00:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',35,'83:call',2,10,0,NULL,'','done',1,1,29,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(6,'checklist:83:call','task.checklist','{"title":"Чек-лист","index":0}',35,'83:call',2,40,0,NULL,'','done',1,1,404,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(7,'item:83:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:83:call"}',35,'83:call',2,40,0,NULL,'','done',1,1,410,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(8,'item:83:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:83:call"}',35,'83:call',2,40,0,NULL,'','done',1,1,412,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(9,'create:85:ship','task.create','{"fields":{"TITLE":"Отгрузить","RESPONSIBLE_ID":5,"DEADLINE":"2026-03-16T18:00:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',37,'85:ship',3,20,0,NULL,'','done',1,1,31,'','',1772427660000003,1772427660000003,NULL,1772427660000003);
INSERT INTO "operations" VALUES(10,'create:87:show','task.create','{"fields":{"TITLE":"Показать","RESPONSIBLE_ID":5,"DEADLINE":"2026-03-03T18:00:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',33,'87:show',4,20,0,NULL,'','done',1,1,33,'','',1772445600500000,1772445600000000,NULL,1772445600000000);
INSERT INTO "operations" VALUES(11,'follow:85:ship:1','task.deadline','{"deadline":"2026-03-12T12:00:00+03:00","reason":"follow","seen":"2026-03-16T15:00:00+00:00"}',37,'85:ship',3,30,0,NULL,'','done',1,1,NULL,'','',1772445600500000,1772445600000000,NULL,1772445600000000);
INSERT INTO "operations" VALUES(12,'line:follow:85:ship:1','task.line','{"text":"Срок перенесён с пн 16 марта, 18:00 на чт 12 марта, 12:00: в сделке заполнено поле «Дата отгрузки»: чт 12 марта 2026, 15:00."}',37,'85:ship',3,45,0,NULL,'','done',1,1,34002,'','',1772445600500000,1772445600000000,NULL,1772445600000000);
INSERT INTO "operations" VALUES(13,'sweep:2026-03-02/morning:81:call','task.deadline','{"deadline":"2026-03-02T18:00:00+03:00","reason":"sweep","seen":"2026-03-02T08:00:00+00:00","supervisor":3,"owner":5,"move":1}',33,'81:call',1,60,0,NULL,'2026-03-02/morning','done',1,1,NULL,'','',1772445600500000,1772445600000000,NULL,1772445600000000);
INSERT INTO "operations" VALUES(14,'sweep:2026-03-02/morning:83:call','task.deadline','{"deadline":"2026-03-02T18:00:00+03:00","reason":"sweep","seen":"2026-03-02T08:00:00+00:00","supervisor":3,"owner":7,"move":1}',35,'83:call',2,60,0,NULL,'2026-03-02/morning','done',1,1,NULL,'','',1772445600500000,1772445600000000,NULL,1772445600000000);
INSERT INTO "operations" VALUES(15,'notice:2026-03-02/morning:3','message','{"user":3,"text":"[b]Утро, пн 2 марта[/b]\n\n[b]Срок перенесён: 2 задачи[/b]\n• Игорь Попов: [url=https://portal.example/company/personal/user/7/tasks/task/view/29/]Позвонить: It''s \"Vector\"[/url]. Было пн 2 марта, 11:00, стало пн 2 марта, 18:00, перенос № 1\n• Мария Кузнецова: [url=https://portal.example/company/personal/user/5/tasks/task/view/27/]Позвонить: Ромашка[/url]. Было пн 2 марта, 11:00, стало пн 2 марта, 18:00, перенос № 1\n\n[b]Срок сегодня: 2 задачи[/b]\n• все из перенесённых\n\n[b]Загрузка сотрудников на пн 2 марта[/b]\n• Мария Кузнецова: открыто 3, просрочено 0, срок в этот день 1\n• Игорь Попов: открыто 1, просрочено 0, срок в этот день 1","mark":"2026-03-02/morning"}',0,'',NULL,50,0,NULL,'2026-03-02/morning','done',1,1,34004,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(16,'notice:2026-03-02/morning:5','message','{"user":5,"text":"[b]Утро, пн 2 марта[/b]\n\n[b]Ваши задачи, срок перенесён: 1 задача[/b]\n• [url=https://portal.example/company/personal/user/5/tasks/task/view/27/]Позвонить: Ромашка[/url]. Было пн 2 марта, 11:00, стало пн 2 марта, 18:00, перенос № 1\n\n[b]Ваши задачи на сегодня: 1 задача[/b]\n• все из перенесённых","mark":"2026-03-02/morning"}',0,'',NULL,50,0,NULL,'2026-03-02/morning','done',1,1,34006,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(17,'notice:2026-03-02/morning:7','message','{"user":7,"text":"[b]Утро, пн 2 марта[/b]\n\n[b]Ваши задачи, срок перенесён: 1 задача[/b]\n• [url=https://portal.example/company/personal/user/7/tasks/task/view/29/]Позвонить: It''s \"Vector\"[/url]. Было пн 2 марта, 11:00, стало пн 2 марта, 18:00, перенос № 1\n\n[b]Ваши задачи на сегодня: 1 задача[/b]\n• все из перенесённых","mark":"2026-03-02/morning"}',0,'',NULL,50,0,NULL,'2026-03-02/morning','done',1,1,34008,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(18,'sweep:2026-03-02/evening:81:call','task.deadline','{"deadline":"2026-03-03T18:00:00+03:00","reason":"sweep","seen":"2026-03-02T15:00:00+00:00","supervisor":3,"owner":5,"move":2}',33,'81:call',1,60,0,NULL,'2026-03-02/evening','done',1,1,NULL,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(19,'sweep:2026-03-02/evening:83:call','task.deadline','{"deadline":"2026-03-03T18:00:00+03:00","reason":"sweep","seen":"2026-03-02T15:00:00+00:00","supervisor":3,"owner":7,"move":2}',35,'83:call',2,60,0,NULL,'2026-03-02/evening','done',1,1,NULL,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(20,'notice:2026-03-02/evening:3','message','{"user":3,"text":"[b]Вечер, пн 2 марта[/b]\n\n[b]Срок перенесён: 2 задачи[/b]\n• Игорь Попов: [url=https://portal.example/company/personal/user/7/tasks/task/view/29/]Позвонить: It''s \"Vector\"[/url]. Было пн 2 марта, 18:00, стало вт 3 марта, 18:00, перенос № 2\n• Мария Кузнецова: [url=https://portal.example/company/personal/user/5/tasks/task/view/27/]Позвонить: Ромашка[/url]. Было пн 2 марта, 18:00, стало вт 3 марта, 18:00, перенос № 2\n\n[b]Срок вт 3 марта: 3 задачи[/b]\n• 18:00 Мария Кузнецова: [url=https://portal.example/company/personal/user/5/tasks/task/view/33/]Показать[/url] ([url=https://portal.example/crm/deal/details/33/]Ромашка[/url])\n• и 2 задачи из перенесённых\n\n[b]Загрузка сотрудников на вт 3 марта[/b]\n• Мария Кузнецова: открыто 3, просрочено 0, срок в этот день 2\n• Игорь Попов: открыто 1, просрочено 0, срок в этот день 1","mark":"2026-03-02/evening"}',0,'',NULL,50,0,NULL,'2026-03-02/evening','done',1,1,34010,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(21,'notice:2026-03-02/evening:5','message','{"user":5,"text":"[b]Вечер, пн 2 марта[/b]\n\n[b]Ваши задачи, срок перенесён: 1 задача[/b]\n• [url=https://portal.example/company/personal/user/5/tasks/task/view/27/]Позвонить: Ромашка[/url]. Было пн 2 марта, 18:00, стало вт 3 марта, 18:00, перенос № 2\n\n[b]Ваши задачи на вт 3 марта: 2 задачи[/b]\n• 18:00 [url=https://portal.example/company/personal/user/5/tasks/task/view/33/]Показать[/url] ([url=https://portal.example/crm/deal/details/33/]Ромашка[/url])\n• и 1 задача из перенесённых","mark":"2026-03-02/evening"}',0,'',NULL,50,0,NULL,'2026-03-02/evening','done',1,1,34012,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(22,'notice:2026-03-02/evening:7','message','{"user":7,"text":"[b]Вечер, пн 2 марта[/b]\n\n[b]Ваши задачи, срок перенесён: 1 задача[/b]\n• [url=https://portal.example/company/personal/user/7/tasks/task/view/29/]Позвонить: It''s \"Vector\"[/url]. Было пн 2 марта, 18:00, стало вт 3 марта, 18:00, перенос № 2\n\n[b]Ваши задачи на вт 3 марта: 1 задача[/b]\n• все из перенесённых","mark":"2026-03-02/evening"}',0,'',NULL,50,0,NULL,'2026-03-02/evening','done',1,1,34014,'','',1772465400500000,1772465400000000,NULL,1772465400000000);
INSERT INTO "operations" VALUES(23,'notice:2026-03-03/morning:3','message','{"user":3,"text":"[b]Утро, вт 3 марта[/b]\n\n[b]Срок сегодня: 3 задачи[/b]\n• 18:00 Игорь Попов: [url=https://portal.example/company/personal/user/7/tasks/task/view/29/]Позвонить: It''s \"Vector\"[/url]\n• 18:00 Мария Кузнецова: [url=https://portal.example/company/personal/user/5/tasks/task/view/27/]Позвонить: Ромашка[/url]\n• 18:00 Мария Кузнецова: [url=https://portal.example/company/personal/user/5/tasks/task/view/33/]Показать[/url] ([url=https://portal.example/crm/deal/details/33/]Ромашка[/url])\n\n[b]Загрузка сотрудников на вт 3 марта[/b]\n• Мария Кузнецова: открыто 3, просрочено 0, срок в этот день 2\n• Игорь Попов: открыто 1, просрочено 0, срок в этот день 1","mark":"2026-03-03/morning"}',0,'',NULL,50,0,NULL,'2026-03-03/morning','done',1,1,34016,'','',1772517600500000,1772517600000000,NULL,1772517600000000);
INSERT INTO "operations" VALUES(24,'notice:2026-03-03/morning:5','message','{"user":5,"text":"[b]Утро, вт 3 марта[/b]\n\n[b]Ваши задачи на сегодня: 2 задачи[/b]\n• 18:00 [url=https://portal.example/company/personal/user/5/tasks/task/view/27/]Позвонить: Ромашка[/url]\n• 18:00 [url=https://portal.example/company/personal/user/5/tasks/task/view/33/]Показать[/url] ([url=https://portal.example/crm/deal/details/33/]Ромашка[/url])","mark":"2026-03-03/morning"}',0,'',NULL,50,0,NULL,'2026-03-03/morning','done',1,1,34018,'','',1772517600500000,1772517600000000,NULL,1772517600000000);
INSERT INTO "operations" VALUES(25,'notice:2026-03-03/morning:7','message','{"user":7,"text":"[b]Утро, вт 3 марта[/b]\n\n[b]Ваши задачи на сегодня: 1 задача[/b]\n• 18:00 [url=https://portal.example/company/personal/user/7/tasks/task/view/29/]Позвонить: It''s \"Vector\"[/url]","mark":"2026-03-03/morning"}',0,'',NULL,50,0,NULL,'2026-03-03/morning','done',1,1,34020,'','',1772517600500000,1772517600000000,NULL,1772517600000000);
INSERT INTO "operations" VALUES(26,'create:89:call','task.create','{"fields":{"TITLE":"Позвонить: Many 0","RESPONSIBLE_ID":5,"DEADLINE":"2026-03-03T11:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',39,'89:call',5,10,0,NULL,'','done',1,1,35,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(27,'checklist:89:call','task.checklist','{"title":"Чек-лист","index":0}',39,'89:call',5,40,0,NULL,'','done',1,1,414,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(28,'item:89:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:89:call"}',39,'89:call',5,40,0,NULL,'','done',1,1,422,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(29,'item:89:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:89:call"}',39,'89:call',5,40,0,NULL,'','done',1,1,424,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(30,'create:91:call','task.create','{"fields":{"TITLE":"Позвонить: Many 1","RESPONSIBLE_ID":7,"DEADLINE":"2026-03-03T11:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',41,'91:call',6,10,0,NULL,'','done',1,1,37,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(31,'checklist:91:call','task.checklist','{"title":"Чек-лист","index":0}',41,'91:call',6,40,0,NULL,'','done',1,1,416,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(32,'item:91:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:91:call"}',41,'91:call',6,40,0,NULL,'','done',1,1,426,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(33,'item:91:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:91:call"}',41,'91:call',6,40,0,NULL,'','done',1,1,428,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(34,'create:93:call','task.create','{"fields":{"TITLE":"Позвонить: Many 2","RESPONSIBLE_ID":5,"DEADLINE":"2026-03-03T11:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',43,'93:call',7,10,0,NULL,'','done',1,1,39,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(35,'checklist:93:call','task.checklist','{"title":"Чек-лист","index":0}',43,'93:call',7,40,0,NULL,'','done',1,1,418,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(36,'item:93:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:93:call"}',43,'93:call',7,40,0,NULL,'','done',1,1,430,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(37,'item:93:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:93:call"}',43,'93:call',7,40,0,NULL,'','done',1,1,432,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(38,'create:95:call','task.create','{"fields":{"TITLE":"Позвонить: Many 3","RESPONSIBLE_ID":7,"DEADLINE":"2026-03-03T11:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',45,'95:call',8,10,0,NULL,'','done',1,1,41,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(39,'checklist:95:call','task.checklist','{"title":"Чек-лист","index":0}',45,'95:call',8,40,0,NULL,'','done',1,1,420,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(40,'item:95:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:95:call"}',45,'95:call',8,40,0,NULL,'','done',1,1,434,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(41,'item:95:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:95:call"}',45,'95:call',8,40,0,NULL,'','done',1,1,436,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(42,'create:97:call','task.create','{"fields":{"TITLE":"Позвонить: Many 4","RESPONSIBLE_ID":5,"DEADLINE":"2026-03-03T11:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',47,'97:call',9,10,0,NULL,'','held',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(43,'checklist:97:call','task.checklist','{"title":"Чек-лист","index":0}',47,'97:call',9,40,0,NULL,'','planned',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(44,'item:97:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:97:call"}',47,'97:call',9,40,0,NULL,'','planned',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(45,'item:97:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:97:call"}',47,'97:call',9,40,0,NULL,'','planned',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(46,'create:99:call','task.create','{"fields":{"TITLE":"Позвонить: Many 5","RESPONSIBLE_ID":7,"DEADLINE":"2026-03-03T11:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',49,'99:call',10,10,0,NULL,'','held',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(47,'checklist:99:call','task.checklist','{"title":"Чек-лист","index":0}',49,'99:call',10,40,0,NULL,'','planned',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(48,'item:99:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:99:call"}',49,'99:call',10,40,0,NULL,'','planned',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(49,'item:99:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:99:call"}',49,'99:call',10,40,0,NULL,'','planned',0,NULL,NULL,'','',1772518500500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(50,'tell:admin:held:2026-03-03T06:1','message','{"user":1,"text":"Придержано: 2 задачи. За десять минут правила захотели поставить больше 4 задач. Посмотрите: bitrix-sync held. Отпустить: bitrix-sync release.","mark":"admin:held:2026-03-03T06:1"}',0,'',NULL,50,0,NULL,'','done',1,1,12001,'','',1772518500500000,1772518500000000,NULL,1772518500000000);
INSERT INTO "operations" VALUES(51,'create:103:call','task.create','{"fields":{"TITLE":"Позвонить: Unknown","RESPONSIBLE_ID":5,"DEADLINE":"2026-03-03T12:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',51,'103:call',11,10,0,NULL,'','done',2,1,43,'','',1772522100500000,1772522100000000,1772522100000000,1772522100000000);
INSERT INTO "operations" VALUES(52,'checklist:103:call','task.checklist','{"title":"Чек-лист","index":0}',51,'103:call',11,40,0,NULL,'','done',1,1,438,'','',1772522100500000,1772522100000000,NULL,1772522100000000);
INSERT INTO "operations" VALUES(53,'item:103:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:103:call"}',51,'103:call',11,40,0,NULL,'','done',1,1,440,'','',1772522100500000,1772522100000000,NULL,1772522100000000);
INSERT INTO "operations" VALUES(54,'item:103:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:103:call"}',51,'103:call',11,40,0,NULL,'','done',1,1,442,'','',1772522100500000,1772522100000000,NULL,1772522100000000);
INSERT INTO "operations" VALUES(55,'create:105:call','task.create','{"fields":{"TITLE":"Позвонить: Paused","RESPONSIBLE_ID":7,"DEADLINE":"2026-03-03T12:15:00+03:00","PRIORITY":1,"MATCH_WORK_TIME":"N","AUDITORS":[3]}}',53,'105:call',12,10,0,NULL,'','planned',0,NULL,NULL,'','',1772522100500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(56,'checklist:105:call','task.checklist','{"title":"Чек-лист","index":0}',53,'105:call',12,40,0,NULL,'','planned',0,NULL,NULL,'','',1772522100500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(57,'item:105:call:0','task.checklist','{"title":"Первое","index":0,"under":"checklist:105:call"}',53,'105:call',12,40,0,NULL,'','planned',0,NULL,NULL,'','',1772522100500000,NULL,NULL,NULL);
INSERT INTO "operations" VALUES(58,'item:105:call:1','task.checklist','{"title":"Второе","index":1,"under":"checklist:105:call"}',53,'105:call',12,40,0,NULL,'','planned',0,NULL,NULL,'','',1772522100500000,NULL,NULL,NULL);
CREATE TABLE picks (
	pool TEXT NOT NULL, 
	user_id BIGINT NOT NULL, 
	place BIGINT NOT NULL, 
	PRIMARY KEY (pool, user_id)
);
INSERT INTO "picks" VALUES('call/one_of:5,7',5,9);
INSERT INTO "picks" VALUES('call/one_of:5,7',7,10);
CREATE TABLE portal (
	id INTEGER NOT NULL, 
	history_id BIGINT, 
	history_time BIGINT, 
	deals_time BIGINT, 
	tasks_time BIGINT, 
	recorded BIGINT, 
	epoch BIGINT NOT NULL, 
	holder TEXT, 
	process TEXT, 
	place TEXT, 
	pid BIGINT, 
	host TEXT, 
	until BIGINT, 
	pacer_level FLOAT, 
	pacer_at BIGINT, 
	PRIMARY KEY (id)
);
INSERT INTO "portal" VALUES(1,105,1772522100000000,1772522100000000,1772522100000000,1772522100500000,1,NULL,NULL,NULL,NULL,NULL,NULL,0.0,1772427660000003);
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	args TEXT NOT NULL, 
	state TEXT NOT NULL, 
	epoch BIGINT, 
	result TEXT, 
	asked BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "requests" VALUES(1,'sync','{}','answered',1,'{"visits":0,"deals":0,"operations":0,"held":0,"watched":[],"done":[],"failed":[],"dropped":[],"unknown":0,"waiting":0}',1772522100000000);
CREATE TABLE rules_seen (
	rule_id TEXT NOT NULL, 
	loaded BIGINT NOT NULL, 
	PRIMARY KEY (rule_id)
);
INSERT INTO "rules_seen" VALUES('call',1772418960000000);
INSERT INTO "rules_seen" VALUES('show',1772418960000000);
INSERT INTO "rules_seen" VALUES('ship',1772418960000000);
CREATE TABLE settings (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "settings" VALUES('rules_digest','c8f1e1ed70fedfa4');
INSERT INTO "settings" VALUES('rules_error','');
INSERT INTO "settings" VALUES('rules_off','{}');
INSERT INTO "settings" VALUES('clock_offset','0');
INSERT INTO "settings" VALUES('directory','{"form":1,"portal":"https://portal.example","users":[[1,"Анна Смирнова",true,[1]],[3,"Виктор Орлов",true,[3]],[5,"Мария Кузнецова",true,[3]],[7,"Игорь Попов",true,[3]],[9,"Ольга Васильева",true,[3,7]],[11,"Павел Соколов",true,[3]],[13,"Елена Михайлова",true,[5]],[15,"Дмитрий Новиков",true,[5]],[17,"Наталья Фёдорова",true,[5]],[19,"Сергей Морозов",true,[7]],[21,"Татьяна Волкова",true,[7]],[23,"Алексей Лебедев",true,[7]],[25,"Юлия Козлова",false,[3]]],"departments":[[1,"ООО «Стандарт»",0,1],[3,"Отдел продаж",1,3],[5,"Юридический отдел",1,13],[7,"Отдел логистики",1,19]],"self":1,"funnels":[[0,"Продажи",[["NEW","Новая заявка","P"],["PREPARATION","Презентация","P"],["UC_OFFER1","КП отправлено","P"],["PREPAYMENT_INVOICE","Согласование","P"],["EXECUTING","Договор","P"],["FINAL_INVOICE","Отгрузка","P"],["WON","Сделка успешна","S"],["LOSE","Сделка провалена","F"],["APOLOGY","Анализ причины провала","F"]]],[5,"Сервис",[["C5:NEW","Обращение","P"],["C5:PREPARATION","Диагностика","P"],["C5:UC_REPAIR","Ремонт","P"],["C5:WON","Выполнено","S"],["C5:LOSE","Отказ клиента","F"]]]],"fields":{"TITLE":"Название","UF_CRM_SHIP_DATE":"Дата отгрузки"},"language":"ru","calendar":{"zone":"Europe/Moscow","week":[[["09:00:00","18:00:00"]],[["09:00:00","18:00:00"]],[["09:00:00","18:00:00"]],[["09:00:00","18:00:00"]],[["09:00:00","18:00:00"]],[],[]],"country":null,"days_off":[],"working_days":[],"holidays":[],"extra_working":[]},"limits":{},"slots":[["morning","09:00:00",false],["evening","18:30:00",false]],"rules":3,"sheets":[{"funnel":"Продажи","stage":"Новая заявка","stage_id":"NEW","limit":"","advance":"","tasks":[{"id":"call","title":"Позвонить: {{ deal.TITLE }}","owner":"один из: Мария Кузнецова, Игорь Попов; по очереди","deadline":"через 2 рабочих часа","supervisor":"Виктор Орлов","notes":["Чек-лист: Первое, Второе"],"disabled":""}]},{"funnel":"Продажи","stage":"Презентация","stage_id":"PREPARATION","limit":"","advance":"","tasks":[{"id":"show","title":"Показать","owner":"ответственный за сделку","deadline":"через 1 рабочий день","supervisor":"Виктор Орлов","notes":[],"disabled":""}]},{"funnel":"Продажи","stage":"Отгрузка","stage_id":"FINAL_INVOICE","limit":"","advance":"","tasks":[{"id":"ship","title":"Отгрузить","owner":"ответственный за сделку","deadline":"в день «Дата отгрузки», в 12:00; иначе через 10 рабочих дней","supervisor":"Виктор Орлов","notes":[],"disabled":""}]}],"frame":["Утренний обход в 09:00: новый срок просроченного — в тот же рабочий день.","Вечерний обход в 18:30: новый срок просроченного — через 1 рабочий день.","Переносятся задачи, поставленные по правилам.","Предохранитель: не больше 4 задач за десять минут и 1 000 переносов за обход; остальное ждёт администратора."],"source":"\nversion: 1\nlanguage: ru\ntimezone: Europe/Moscow\nadmins: [1]\ncalendar: {hours: \"09:00-18:00\"}\nfallback_owner: 1\nsupervisor: 3\nfunnels:\n  Продажи:\n    Новая заявка:\n      - id: call\n        title: \"Позвонить: {{ deal.TITLE }}\"\n        owner: {one_of: [5, 7], pick: round_robin}\n        deadline: {after: 2 workhours}\n        checklist: [Первое, Второе]\n    Презентация:\n      - {id: show, title: Показать, deadline: {after: 1 workday}}\n    Отгрузка:\n      - id: ship\n        title: Отгрузить\n        deadline: {field: UF_CRM_SHIP_DATE, at: \"12:00\", else: {after: 10 workdays}}\noverdue:\n  tasks: rules\n  morning: {at: \"09:00\", move_to: {after: 0 workdays}}\n  evening: {at: \"18:30\", move_to: {after: 1 workday}}\nsafety: {max_new_tasks: 4}\n","warnings":["rules.yaml:10:3: funnels > Продажи: The stages КП отправлено, Согласование, Договор of the funnel Продажи have no task. A deal there has no next step: write a task, or one for `\"*\"`."],"loaded":"2026-03-03T07:15:00.500000+00:00"}');
INSERT INTO "settings" VALUES('sweeps_since','{"morning": "2026-03-02T05:01:00.000003+00:00", "evening": "2026-03-02T05:01:00.000003+00:00"}');
INSERT INTO "settings" VALUES('audited','2026-03-03');
INSERT INTO "settings" VALUES('last_pass','2026-03-03T07:15:00+00:00');
INSERT INTO "settings" VALUES('trouble','');
INSERT INTO "settings" VALUES('paused','1');
CREATE TABLE slips (
	id INTEGER NOT NULL, 
	task_row BIGINT NOT NULL, 
	"before" BIGINT, 
	"after" BIGINT, 
	"by" TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	sweep TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(task_row) REFERENCES tasks (id)
);
INSERT INTO "slips" VALUES(1,3,1773673200000000,1773306000000000,'follow',1772445600000000,'');
INSERT INTO "slips" VALUES(2,1,1772438400000000,1772463600000000,'sweep',1772445600000000,'2026-03-02/morning');
INSERT INTO "slips" VALUES(3,2,1772438400000000,1772463600000000,'sweep',1772445600000000,'2026-03-02/morning');
INSERT INTO "slips" VALUES(4,1,1772463600000000,1772550000000000,'sweep',1772465400000000,'2026-03-02/evening');
INSERT INTO "slips" VALUES(5,2,1772463600000000,1772550000000000,'sweep',1772465400000000,'2026-03-02/evening');
CREATE TABLE sweeps (
	slot TEXT NOT NULL, 
	moment BIGINT NOT NULL, 
	state TEXT NOT NULL, 
	summary TEXT NOT NULL, 
	PRIMARY KEY (slot)
);
INSERT INTO "sweeps" VALUES('2026-03-02/morning',1772445600000000,'done','{"overdue":2,"moves":2,"watch":false,"messages":3,"left":[]}');
INSERT INTO "sweeps" VALUES('2026-03-02/evening',1772465400500000,'done','{"overdue":2,"moves":2,"watch":false,"messages":3,"left":[]}');
INSERT INTO "sweeps" VALUES('2026-03-03/morning',1772517600500000,'done','{"overdue":0,"moves":0,"watch":false,"messages":3,"left":[]}');
CREATE TABLE tasks (
	id INTEGER NOT NULL, 
	occurrence TEXT, 
	portal_id BIGINT, 
	deal_id BIGINT NOT NULL, 
	rule_id TEXT NOT NULL, 
	visit_id BIGINT NOT NULL, 
	number INTEGER NOT NULL, 
	deadline BIGINT, 
	owner_id BIGINT NOT NULL, 
	supervisor_id BIGINT, 
	title TEXT NOT NULL, 
	status INTEGER NOT NULL, 
	gone BOOLEAN NOT NULL, 
	owner_form TEXT NOT NULL, 
	owner_sent BIGINT NOT NULL, 
	creator_id BIGINT NOT NULL, 
	auditors TEXT NOT NULL, 
	first_deadline BIGINT, 
	basis TEXT NOT NULL, 
	sent TEXT NOT NULL, 
	follow_off BOOLEAN NOT NULL, 
	moves INTEGER NOT NULL, 
	moves_by_us INTEGER NOT NULL, 
	moves_by_people INTEGER NOT NULL, 
	started BIGINT, 
	created BIGINT, 
	changed BIGINT, 
	closed BIGINT, 
	PRIMARY KEY (id), 
	UNIQUE (occurrence), 
	UNIQUE (portal_id)
);
INSERT INTO "tasks" VALUES(1,'81:call',27,33,'call',81,1,1772550000000000,5,3,'Позвонить: Ромашка',2,0,'other',5,1,'[3]',1772438400000000,'entry','["2026-03-02T08:00:00+00:00","2026-03-02T15:00:00+00:00","2026-03-03T15:00:00+00:00"]',0,2,2,0,1772427660000000,1772427660000003,1772465400000000,NULL);
INSERT INTO "tasks" VALUES(2,'83:call',29,35,'call',83,1,1772550000000000,7,3,'Позвонить: It''s "Vector"',2,0,'other',7,1,'[3]',1772438400000000,'entry','["2026-03-02T08:00:00+00:00","2026-03-02T15:00:00+00:00","2026-03-03T15:00:00+00:00"]',0,2,2,0,1772427660000000,1772427660000003,1772465400000000,NULL);
INSERT INTO "tasks" VALUES(3,'85:ship',31,37,'ship',85,1,1773306000000000,5,3,'Отгрузить',2,0,'responsible',5,1,'[3]',1773673200000000,'field:UF_CRM_SHIP_DATE=2026-03-12T12:00:00Z','["2026-03-16T15:00:00+00:00","2026-03-12T09:00:00+00:00"]',0,0,0,0,1772427660000000,1772427660000003,1772445600000000,NULL);
INSERT INTO "tasks" VALUES(4,'87:show',33,33,'show',87,1,1772550000000000,5,3,'Показать',2,0,'responsible',5,1,'[3]',1772550000000000,'entry','["2026-03-03T15:00:00+00:00"]',0,0,0,0,1772445600000000,1772445600500000,1772445600000000,NULL);
INSERT INTO "tasks" VALUES(5,'89:call',35,39,'call',89,1,1772525700000000,5,3,'Позвонить: Many 0',2,0,'other',5,1,'[3]',1772525700000000,'entry','["2026-03-03T08:15:00+00:00"]',0,0,0,0,1772518500000000,1772518500500000,1772518500000000,NULL);
INSERT INTO "tasks" VALUES(6,'91:call',37,41,'call',91,1,1772525700000000,7,3,'Позвонить: Many 1',2,0,'other',7,1,'[3]',1772525700000000,'entry','["2026-03-03T08:15:00+00:00"]',0,0,0,0,1772518500000000,1772518500500000,1772518500000000,NULL);
INSERT INTO "tasks" VALUES(7,'93:call',39,43,'call',93,1,1772525700000000,5,3,'Позвонить: Many 2',2,0,'other',5,1,'[3]',1772525700000000,'entry','["2026-03-03T08:15:00+00:00"]',0,0,0,0,1772518500000000,1772518500500000,1772518500000000,NULL);
INSERT INTO "tasks" VALUES(8,'95:call',41,45,'call',95,1,1772525700000000,7,3,'Позвонить: Many 3',2,0,'other',7,1,'[3]',1772525700000000,'entry','["2026-03-03T08:15:00+00:00"]',0,0,0,0,1772518500000000,1772518500500000,1772518500000000,NULL);
INSERT INTO "tasks" VALUES(9,'97:call',NULL,47,'call',97,1,1772525700000000,5,3,'Позвонить: Many 4',2,0,'other',5,0,'[]',1772525700000000,'entry','["2026-03-03T08:15:00+00:00"]',0,0,0,0,1772518500000000,1772518500500000,NULL,NULL);
INSERT INTO "tasks" VALUES(10,'99:call',NULL,49,'call',99,1,1772525700000000,7,3,'Позвонить: Many 5',2,0,'other',7,0,'[]',1772525700000000,'entry','["2026-03-03T08:15:00+00:00"]',0,0,0,0,1772518500000000,1772518500500000,NULL,NULL);
INSERT INTO "tasks" VALUES(11,'103:call',43,51,'call',103,1,1772529300000000,5,3,'Позвонить: Unknown',2,0,'other',5,1,'[3]',1772529300000000,'entry','["2026-03-03T09:15:00+00:00"]',0,0,0,0,1772522100000000,1772522100500000,1772522100000000,NULL);
INSERT INTO "tasks" VALUES(12,'105:call',NULL,53,'call',105,1,1772529300000000,7,3,'Позвонить: Paused',2,0,'other',7,0,'[]',1772529300000000,'entry','["2026-03-03T09:15:00+00:00"]',0,0,0,0,1772522100000000,1772522100500000,NULL,NULL);
CREATE TABLE told (
	"key" TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE traces (
	id INTEGER NOT NULL, 
	deal_id BIGINT NOT NULL, 
	visit_id BIGINT NOT NULL, 
	rule_id TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	data TEXT NOT NULL, 
	checks TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "traces" VALUES(1,33,81,'call','made',1772427660000003,'{"task":"81:call","title":"Позвонить: Ромашка","owner":"Мария Кузнецова","owner_path":["из списка: Мария Кузнецова","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-02T08:00:00+00:00","branch":"main","lifted":false}','[]','81dd88369e9bd1f906175c17');
INSERT INTO "traces" VALUES(2,35,83,'call','made',1772427660000003,'{"task":"83:call","title":"Позвонить: It''s \"Vector\"","owner":"Игорь Попов","owner_path":["из списка: Игорь Попов","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-02T08:00:00+00:00","branch":"main","lifted":false}','[]','cfae1c90cdd8334b8539f705');
INSERT INTO "traces" VALUES(3,37,85,'ship','made',1772427660000003,'{"task":"85:ship","title":"Отгрузить","owner":"Мария Кузнецова","owner_path":["ответственный за сделку: Мария Кузнецова"],"supervisor":"Виктор Орлов","deadline":"2026-03-16T15:00:00+00:00","branch":"else","lifted":false}','[]','d6bbaebaa81181575b36a02f');
INSERT INTO "traces" VALUES(4,33,87,'show','made',1772445600500000,'{"task":"87:show","title":"Показать","owner":"Мария Кузнецова","owner_path":["ответственный за сделку: Мария Кузнецова"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T15:00:00+00:00","branch":"main","lifted":false}','[]','0a6b2f885a0e3770bb36c85b');
INSERT INTO "traces" VALUES(5,37,85,'ship','followed',1772445600500000,'{"before":"2026-03-16T15:00:00+00:00","after":"2026-03-12T09:00:00+00:00","why":"field:UF_CRM_SHIP_DATE=2026-03-12T12:00:00Z"}','[]','a8ee157fa7bab065307b57e5');
INSERT INTO "traces" VALUES(6,39,89,'call','made',1772518500500000,'{"task":"89:call","title":"Позвонить: Many 0","owner":"Мария Кузнецова","owner_path":["из списка: Мария Кузнецова","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T08:15:00+00:00","branch":"main","lifted":false}','[]','06ccaae1604b2e51fe9e901e');
INSERT INTO "traces" VALUES(7,41,91,'call','made',1772518500500000,'{"task":"91:call","title":"Позвонить: Many 1","owner":"Игорь Попов","owner_path":["из списка: Игорь Попов","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T08:15:00+00:00","branch":"main","lifted":false}','[]','9eb8f7c6f605d1b9f95591cf');
INSERT INTO "traces" VALUES(8,43,93,'call','made',1772518500500000,'{"task":"93:call","title":"Позвонить: Many 2","owner":"Мария Кузнецова","owner_path":["из списка: Мария Кузнецова","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T08:15:00+00:00","branch":"main","lifted":false}','[]','6e8fcc6cc4ec8a16fc22efd9');
INSERT INTO "traces" VALUES(9,45,95,'call','made',1772518500500000,'{"task":"95:call","title":"Позвонить: Many 3","owner":"Игорь Попов","owner_path":["из списка: Игорь Попов","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T08:15:00+00:00","branch":"main","lifted":false}','[]','8a59ac2e4796ab8367e03f4b');
INSERT INTO "traces" VALUES(10,47,97,'call','made',1772518500500000,'{"task":"97:call","title":"Позвонить: Many 4","owner":"Мария Кузнецова","owner_path":["из списка: Мария Кузнецова","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T08:15:00+00:00","branch":"main","lifted":false}','[]','966de7893c6b12453add0faf');
INSERT INTO "traces" VALUES(11,49,99,'call','made',1772518500500000,'{"task":"99:call","title":"Позвонить: Many 5","owner":"Игорь Попов","owner_path":["из списка: Игорь Попов","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T08:15:00+00:00","branch":"main","lifted":false}','[]','79ab6c30c4ccc070efee4179');
INSERT INTO "traces" VALUES(12,51,103,'call','made',1772522100500000,'{"task":"103:call","title":"Позвонить: Unknown","owner":"Мария Кузнецова","owner_path":["из списка: Мария Кузнецова","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T09:15:00+00:00","branch":"main","lifted":false}','[]','8af5b154b598dc3a030f655a');
INSERT INTO "traces" VALUES(13,53,105,'call','made',1772522100500000,'{"task":"105:call","title":"Позвонить: Paused","owner":"Игорь Попов","owner_path":["из списка: Игорь Попов","по очереди"],"supervisor":"Виктор Орлов","deadline":"2026-03-03T09:15:00+00:00","branch":"main","lifted":false}','[]','282c56b728513034433585ba');
CREATE TABLE visits (
	id INTEGER NOT NULL, 
	deal_id BIGINT NOT NULL, 
	kind INTEGER NOT NULL, 
	funnel_id BIGINT NOT NULL, 
	stage_id TEXT NOT NULL, 
	semantic TEXT NOT NULL, 
	entered BIGINT NOT NULL, 
	handled BOOLEAN NOT NULL, moved_by BIGINT, 
	PRIMARY KEY (id)
);
INSERT INTO "visits" VALUES(1,1,1,0,'NEW','P',1769003220000000,1,NULL);
INSERT INTO "visits" VALUES(5,1,2,0,'PREPARATION','P',1769608020000000,1,NULL);
INSERT INTO "visits" VALUES(7,5,1,0,'NEW','P',1769865000000000,1,NULL);
INSERT INTO "visits" VALUES(13,9,1,0,'NEW','P',1770292560000000,1,NULL);
INSERT INTO "visits" VALUES(15,9,2,0,'PREPAYMENT_INVOICE','P',1770378960000000,1,5);
INSERT INTO "visits" VALUES(17,5,2,0,'PREPARATION','P',1770556200000000,1,NULL);
INSERT INTO "visits" VALUES(21,11,1,0,'NEW','P',1770722340000000,1,NULL);
INSERT INTO "visits" VALUES(23,1,2,0,'EXECUTING','P',1770731220000000,1,NULL);
INSERT INTO "visits" VALUES(27,13,1,0,'NEW','P',1770899580000000,1,NULL);
INSERT INTO "visits" VALUES(29,11,2,0,'PREPARATION','P',1771067940000000,1,NULL);
INSERT INTO "visits" VALUES(31,15,1,0,'NEW','P',1771152120000000,1,NULL);
INSERT INTO "visits" VALUES(33,13,2,0,'PREPARATION','P',1771245180000000,1,NULL);
INSERT INTO "visits" VALUES(35,17,1,0,'NEW','P',1771409100000000,1,NULL);
INSERT INTO "visits" VALUES(37,11,2,0,'UC_OFFER1','P',1771413540000000,1,NULL);
INSERT INTO "visits" VALUES(39,15,2,0,'PREPARATION','P',1771497720000000,1,NULL);
INSERT INTO "visits" VALUES(41,5,2,0,'EXECUTING','P',1771593000000000,1,25);
INSERT INTO "visits" VALUES(43,19,1,0,'NEW','P',1771666080000000,1,NULL);
INSERT INTO "visits" VALUES(45,13,2,0,'PREPAYMENT_INVOICE','P',1771677180000000,1,NULL);
INSERT INTO "visits" VALUES(47,21,1,5,'C5:NEW','P',1771751700000000,1,NULL);
INSERT INTO "visits" VALUES(49,17,2,0,'PREPARATION','P',1771754700000000,1,NULL);
INSERT INTO "visits" VALUES(51,23,1,0,'NEW','P',1771923060000000,1,NULL);
INSERT INTO "visits" VALUES(53,21,2,5,'C5:PREPARATION','P',1771924500000000,1,NULL);
INSERT INTO "visits" VALUES(55,11,2,0,'PREPAYMENT_INVOICE','P',1771931940000000,1,9);
INSERT INTO "visits" VALUES(57,17,2,0,'UC_OFFER1','P',1772013900000000,1,7);
INSERT INTO "visits" VALUES(59,25,1,5,'C5:NEW','P',1772095080000000,1,NULL);
INSERT INTO "visits" VALUES(61,23,2,0,'PREPARATION','P',1772095860000000,1,5);
INSERT INTO "visits" VALUES(63,19,2,0,'PREPARATION','P',1772184480000000,1,9);
INSERT INTO "visits" VALUES(65,1,2,0,'FINAL_INVOICE','P',1772200020000000,1,9);
INSERT INTO "visits" VALUES(67,25,2,5,'C5:PREPARATION','P',1772267880000000,1,21);
INSERT INTO "visits" VALUES(69,15,2,0,'UC_OFFER1','P',1772275320000000,1,11);
INSERT INTO "visits" VALUES(71,13,2,0,'EXECUTING','P',1772281980000000,1,7);
INSERT INTO "visits" VALUES(73,27,1,0,'NEW','P',1772352840000000,1,11);
INSERT INTO "visits" VALUES(75,21,2,5,'C5:UC_REPAIR','P',1772356500000000,1,23);
INSERT INTO "visits" VALUES(77,29,1,0,'NEW','P',1772401680000000,1,7);
INSERT INTO "visits" VALUES(79,31,1,0,'NEW','P',1772418960000000,1,5);
INSERT INTO "visits" VALUES(81,33,1,0,'NEW','P',1772427660000000,0,5);
INSERT INTO "visits" VALUES(83,35,1,0,'NEW','P',1772427660000000,0,5);
INSERT INTO "visits" VALUES(85,37,1,0,'FINAL_INVOICE','P',1772427660000000,0,5);
INSERT INTO "visits" VALUES(87,33,2,0,'PREPARATION','P',1772445600000000,0,5);
INSERT INTO "visits" VALUES(89,39,1,0,'NEW','P',1772518500000000,0,5);
INSERT INTO "visits" VALUES(91,41,1,0,'NEW','P',1772518500000000,0,5);
INSERT INTO "visits" VALUES(93,43,1,0,'NEW','P',1772518500000000,0,5);
INSERT INTO "visits" VALUES(95,45,1,0,'NEW','P',1772518500000000,0,5);
INSERT INTO "visits" VALUES(97,47,1,0,'NEW','P',1772518500000000,0,5);
INSERT INTO "visits" VALUES(99,49,1,0,'NEW','P',1772518500000000,0,5);
INSERT INTO "visits" VALUES(101,35,3,0,'WON','S',1772518500000000,0,7);
INSERT INTO "visits" VALUES(103,51,1,0,'NEW','P',1772522100000000,0,5);
INSERT INTO "visits" VALUES(105,53,1,0,'NEW','P',1772522100000000,0,5);
CREATE INDEX deals_stage ON deals (semantic, funnel_id, stage_id);
CREATE INDEX deals_wake ON deals (wake_at);
CREATE INDEX moments_deal ON moments (deal_id);
CREATE INDEX requests_state ON requests (state, id);
CREATE INDEX tasks_deadline ON tasks (gone, status, deadline);
CREATE INDEX tasks_deal ON tasks (deal_id);
CREATE INDEX tasks_owner ON tasks (gone, status, owner_id, deadline);
CREATE INDEX tasks_rule ON tasks (rule_id, created);
CREATE INDEX traces_at ON traces (at);
CREATE INDEX traces_rule ON traces (deal_id, visit_id, rule_id, id);
CREATE INDEX visits_deal ON visits (deal_id);
CREATE INDEX operations_created ON operations (kind, created);
CREATE INDEX operations_deal ON operations (deal_id, kind);
CREATE INDEX operations_queue ON operations (state, urgency, id);
CREATE INDEX operations_resent ON operations (kind, attempts);
CREATE INDEX operations_sweep ON operations (sweep);
CREATE INDEX operations_task ON operations (task_row, id);
CREATE INDEX slips_sweep ON slips (sweep);
CREATE INDEX slips_task ON slips (task_row);
CREATE INDEX tasks_closed ON tasks (gone, status, closed);
COMMIT;
