package com.alibaba.otter.manager.deployer;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

/**
 * Stands in for Otter's manager: a web server that tells its nodes, and pushes channels to them; nodes connect to the
 * communication port, get their ports and channels, and report. Reads the file that -Dotter.conf names.
 */
public final class OtterManagerLauncher {
    private static final Map<Integer, Node> NODES = new ConcurrentSkipListMap<>();
    private static final Map<String, String> CHANNELS = new ConcurrentSkipListMap<>();

    private static final class Node {
        final PrintWriter writer;
        volatile String report = "";

        Node(PrintWriter writer) {
            this.writer = writer;
        }
    }

    public static void main(String[] arguments) throws IOException {
        Properties settings = new Properties();
        try (FileInputStream file = new FileInputStream(System.getProperty("otter.conf"))) {
            settings.load(file);
        }
        HttpServer web = HttpServer.create(new InetSocketAddress(port(settings, "otter.port")), 0);
        web.createContext("/", exchange -> answer(exchange, "domain=" + settings.getProperty("otter.domainName")
            + " heap=" + Runtime.getRuntime().maxMemory() / (1 << 20) + "\n"));
        web.createContext("/nodes", exchange -> answer(exchange, NODES.entrySet().stream()
            .map(node -> node.getKey() + " " + node.getValue().report + "\n").collect(Collectors.joining())));
        web.createContext("/channels/", OtterManagerLauncher::channel);
        web.setExecutor(Executors.newFixedThreadPool(4));
        web.start();
        System.out.println("the web is on " + web.getAddress().getPort());
        try (ServerSocket listener = new ServerSocket(port(settings, "otter.communication.manager.port"))) {
            while (true) {
                Socket socket = listener.accept();
                new Thread(() -> serve(socket)).start();
            }
        }
    }

    private static int port(Properties settings, String name) {
        return Integer.parseInt(settings.getProperty(name).trim());
    }

    /** A node's conversation: "hello NID", then reports; it hears "ports BASE" and "channel NAME VALUE". */
    private static void serve(Socket socket) {
        int nid = 0;
        Node node = null;
        try (socket;
            BufferedReader reader = new BufferedReader(new InputStreamReader(socket.getInputStream()));
            PrintWriter writer = new PrintWriter(socket.getOutputStream(), true)) {
            String[] hello = String.valueOf(reader.readLine()).split(" ");
            if (hello.length != 2 || !hello[0].equals("hello")) {
                return;
            }
            nid = Integer.parseInt(hello[1]);
            node = new Node(writer);
            NODES.put(nid, node);
            System.out.println("node " + nid + " joins");
            writer.println("ports " + (1988 + 100 * nid));
            CHANNELS.forEach((name, value) -> writer.println("channel " + name + " " + value));
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                node.report = line;
            }
        } catch (IOException | NumberFormatException error) {
            System.out.println("a node's connection: " + error);
        } finally {
            if (node != null && NODES.remove(nid, node)) {
                System.out.println("node " + nid + " leaves");
            }
        }
    }

    private static void channel(HttpExchange exchange) throws IOException {
        String name = exchange.getRequestURI().getPath().substring("/channels/".length());
        if (exchange.getRequestMethod().equals("PUT")) {
            String value = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8).trim();
            CHANNELS.put(name, value);
            NODES.values().forEach(node -> node.writer.println("channel " + name + " " + value));
        }
        answer(exchange, CHANNELS.getOrDefault(name, "") + "\n");
    }

    private static void answer(HttpExchange exchange, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
