package com.alibaba.otter.node.deployer;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.function.Supplier;

/**
 * Stands in for Otter's worker: says its -Dnid to the manager, serves the three ports that it is told (communication,
 * download, mbean), takes channels, and reports each second. Reads otter.properties from the class path.
 */
public final class OtterLauncher {
    private static final Map<String, String> CHANNELS = new ConcurrentSkipListMap<>();

    public static void main(String[] arguments) throws Exception {
        int nid = Integer.parseInt(System.getProperty("nid").trim());
        Properties settings = new Properties();
        try (InputStream file = OtterLauncher.class.getClassLoader().getResourceAsStream("otter.properties")) {
            settings.load(file);
        }
        String[] manager = settings.getProperty("otter.manager.address").trim().split(":");
        boolean serving = false;
        while (true) {
            try (Socket socket = new Socket(manager[0], Integer.parseInt(manager[1]));
                BufferedReader reader = new BufferedReader(new InputStreamReader(socket.getInputStream()));
                PrintWriter writer = new PrintWriter(socket.getOutputStream(), true)) {
                writer.println("hello " + nid);
                Thread reports = new Thread(() -> report(writer));
                reports.start();
                for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                    String[] words = line.split(" ", 3);
                    if (words[0].equals("ports") && !serving) {
                        serve(nid, Integer.parseInt(words[1]));
                        serving = true;
                    } else if (words[0].equals("channel")) {
                        CHANNELS.put(words[1], words[2]);
                        System.out.println("channel " + words[1] + ": " + words[2]);
                    }
                }
                reports.interrupt();
            } catch (IOException error) {
                System.out.println("the manager: " + error);
            }
            Thread.sleep(300);
        }
    }

    private static void report(PrintWriter writer) {
        try {
            while (!writer.checkError()) {
                writer.println("channels=" + CHANNELS);
                Thread.sleep(1000);
            }
        } catch (InterruptedException ended) {
            // the connection is closed
        }
    }

    private static void serve(int nid, int base) throws IOException {
        listen(base, () -> "communication nid=" + nid);
        listen(base + 1, () -> "download channels=" + CHANNELS);
        listen(base + 2, () -> "mbean heap=" + Runtime.getRuntime().maxMemory() / (1 << 20));
        System.out.println("node " + nid + " serves " + base + " to " + (base + 2));
    }

    /** Answers each connection with one line. */
    private static void listen(int port, Supplier<String> answer) throws IOException {
        ServerSocket listener = new ServerSocket(port);
        new Thread(() -> {
            while (true) {
                try (Socket socket = listener.accept();
                    PrintWriter writer = new PrintWriter(socket.getOutputStream(), true)) {
                    writer.println(answer.get());
                } catch (IOException error) {
                    System.out.println(port + ": " + error);
                }
            }
        }).start();
    }
}
