// The examples of the JavaScript client, run against the namespace that is the first argument. Each fails with an exception.
import assert from 'node:assert/strict';
import net from 'node:net';
import { PassThrough } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const namespace = process.argv[2];
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);

const collect = (stream) => {
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    return () => Buffer.concat(chunks).toString();
};

const until = async (condition) => {
    for (let i = 0; i < 500; i++) {
        if (await condition()) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail(`not within 10 s: ${condition}`);
};

const examples = {
    async objects() {
        const body = { metadata: { name: 'a', labels: { set: 'one' } }, data: { k: 'v' } };
        await core.createNamespacedConfigMap({ namespace, body });
        const patch = [{ op: 'replace', path: '/data/k', value: 'w' }];
        await core.patchNamespacedConfigMap({ name: 'a', namespace, body: patch });
        const list = await core.listNamespacedConfigMap({ namespace, labelSelector: 'set=one', limit: 1 });
        assert.deepEqual(list.items.map((item) => item.data), [{ k: 'w' }]);
        await assert.rejects(core.readNamespacedConfigMap({ name: 'none', namespace }), { code: 404 });
        const objects = k8s.KubernetesObjectApi.makeApiClient(config);
        const spec = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace }, data: { x: '1' } };
        await objects.patch(spec, undefined, undefined, 'js', true, k8s.PatchStrategy.ServerSideApply);
        assert.deepEqual((await objects.read(spec)).data, { k: 'w', x: '1' });
    },

    async watches() {
        const seen = [];
        const path = `/api/v1/namespaces/${namespace}/configmaps`;
        const request = await new k8s.Watch(config).watch(
            path, { labelSelector: 'set=two' }, (type, object) => seen.push([type, object.metadata.name]), () => {},
        );
        await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'b', labels: { set: 'two' } } } });
        await core.deleteNamespacedConfigMap({ name: 'b', namespace });
        await until(() => seen.length === 2);
        assert.deepEqual(seen, [['ADDED', 'b'], ['DELETED', 'b']]);
        request.abort();
    },

    async informer() {
        const path = `/api/v1/namespaces/${namespace}/configmaps`;
        const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'set=three' });
        const informer = k8s.makeInformer(config, path, list, 'set=three');
        const seen = [];
        for (const event of ['add', 'update', 'delete']) informer.on(event, () => seen.push(event));
        await informer.start();
        const body = { metadata: { name: 'c', labels: { set: 'three' } } };
        const made = await core.createNamespacedConfigMap({ namespace, body });
        await until(() => seen.includes('add'));
        await core.replaceNamespacedConfigMap({ name: 'c', namespace, body: { ...made, data: { x: '1' } } });
        await until(() => seen.includes('update'));
        assert.deepEqual(informer.get('c', namespace).data, { x: '1' });
        await core.deleteNamespacedConfigMap({ name: 'c', namespace });
        await until(() => seen.includes('delete'));
        await informer.stop();
    },

    async streams() {
        const out = new PassThrough(), err = new PassThrough();
        const [output, errors] = [collect(out), collect(err)];
        const status = await new Promise((resolve) => {
            const command = ['sh', '-c', 'echo out; echo err >&2; exit 7'];
            new k8s.Exec(config).exec(namespace, 'web', 'box', command, out, err, null, false, resolve);
        });
        assert.equal(status.details.causes[0].message, '7');
        await until(() => output() === 'out\n' && errors() === 'err\n');
        const log = new PassThrough();
        const logged = collect(log);
        await new k8s.Log(config).log(namespace, 'web', 'box', log, { follow: false });
        await until(() => logged() === 'began\n');
    },

    async forward() {
        const forward = new k8s.PortForward(config);
        const server = net.createServer((socket) => forward.portForward(namespace, 'web', [8080], socket, null, socket));
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        const answer = await fetch(`http://127.0.0.1:${server.address().port}/index.html`, { headers: { connection: 'close' } });
        assert.equal(await answer.text(), 'hello\n');
        server.close();
    },

    async customObjects() {
        const custom = config.makeApiClient(k8s.CustomObjectsApi);
        const where = { group: 'example.com', version: 'v1', namespace, plural: 'boats' };
        const body = { apiVersion: 'example.com/v1', kind: 'Boat', metadata: { name: 'a' }, spec: { oars: 2 } };
        await custom.createNamespacedCustomObject({ ...where, body });
        const merge = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch);
        await custom.patchNamespacedCustomObject({ ...where, name: 'a', body: { spec: { oars: 4 } } }, merge);
        const found = await custom.listNamespacedCustomObject(where);
        assert.deepEqual(found.items.map((item) => item.spec.oars), [4]);
    },
};

for (const [name, example] of Object.entries(examples)) {
    await example();
    console.log(name);
}
process.exit(0);
